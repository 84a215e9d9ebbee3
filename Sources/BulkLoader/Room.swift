enum BulkLoaderRoom {}
