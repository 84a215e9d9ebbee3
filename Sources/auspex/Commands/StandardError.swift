import Node

/// A line on standard error.
func diagnostic(_ text: String) { NodeLog.line(text) }
