enum NodeRoom {}
