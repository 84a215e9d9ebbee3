enum CQLRoom {}
