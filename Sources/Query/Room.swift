enum QueryRoom {}
