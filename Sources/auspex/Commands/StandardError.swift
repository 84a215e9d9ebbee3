import Node

/// Writes a line to standard error.
func diagnostic(_ text: String) { NodeLog.line(text) }
