/// Whether to continue with the next row.
public enum ScanStep: Sendable { case next, stop }
