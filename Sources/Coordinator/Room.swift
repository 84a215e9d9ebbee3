enum CoordinatorRoom {}
