enum SSTableToolRoom {}
