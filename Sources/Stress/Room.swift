enum StressRoom {}
