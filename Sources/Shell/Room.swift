enum ShellRoom {}
