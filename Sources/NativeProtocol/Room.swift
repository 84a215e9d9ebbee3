enum NativeProtocolRoom {}
