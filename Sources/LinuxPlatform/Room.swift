enum LinuxPlatformRoom {}
