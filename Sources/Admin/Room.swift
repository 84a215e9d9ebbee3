enum AdminRoom {}
