import Primitives

/// The form of the values of counter cells.
public enum CounterForm: Sendable {
    /// As they are stored: whole shards (`CounterValue`).
    case shards
    /// As a coordinator sends them to a leader: one delta of 8 bytes.
    case deltas

    @inline(__always) fileprivate func allows(_ count: Int) -> Bool {
        self == .shards ? count % CounterValue.shardBytes == 0 : count == 8
    }

    fileprivate var expected: String { self == .shards ? "whole counter shards" : "a counter delta of 8 bytes" }
}

extension RowView {
    /// The greatest column id of a cell.
    static let largestColumn = 1 << 30

    /// Validates bytes from outside, so that all other methods can trust them: the row parses to its end, and its cells
    /// are in order without duplicates (`RowFormat`). Values are not checked against the types of their columns.
    ///
    /// One pass, without allocation.
    /// - Throws: `ByteError` when they end early or are not a valid row.
    public static func validate(_ bytes: UnsafeRawBufferPointer, counters: CounterForm = .shards) throws(ByteError) {
        var reader = ByteReader(bytes)
        let flags = RowFlags(rawValue: try reader.readU8())
        guard flags.isSubset(of: .known) else { throw .unexpected(offset: 0, expected: "known row flags") }
        if flags.contains(.hasBase) {
            // The least timestamp stands for none: a row with it would lose it when it is merged.
            guard try reader.readLE(Int64.self) != .min else { throw .unexpected(offset: 1, expected: "a timestamp") }
        } else if !flags.isDisjoint(with: [.hasLiveness, .livenessExpires]) {
            throw .unexpected(offset: 0, expected: "a timestamp of the liveness")
        }
        if flags.contains(.livenessExpires) { try reader.skip(8) }
        if flags.contains(.hasDeletion) { try reader.skip(12) }
        var column = -1
        var hasCells = false
        var path = UnsafeRawBufferPointer(start: nil, count: 0)
        while !reader.isAtEnd {
            let start = reader.offset
            let itsColumn = try reader.readCount()
            let cell = CellFlags(rawValue: try reader.readU8())
            guard itsColumn <= largestColumn, cell.isSubset(of: .known) else {
                throw .unexpected(offset: start, expected: "a column and known cell flags")
            }
            let isComplex = cell.contains(.complexDeletion)
            guard !isComplex || cell.isDisjoint(with: [.tombstone, .hasPath]) else {
                throw .unexpected(offset: start, expected: "a complex deletion without path")
            }
            let isDead = isComplex || cell.contains(.tombstone)
            if !cell.contains(.sameTimestamp) {
                try reader.skip(8)
            } else if !flags.contains(.hasBase) {
                throw .unexpected(offset: start, expected: "a cell with a timestamp of its own")
            }
            if isDead { try reader.skip(4) } else if cell.contains(.expiring) { try reader.skip(8) }
            let itsPath =
                cell.contains(.hasPath)
                ? try reader.readSlice(reader.readCount()) : UnsafeRawBufferPointer(start: nil, count: 0)
            if !isDead {
                let count = try reader.readCount()
                guard !cell.contains(.counter) || counters.allows(count) else {
                    throw .unexpected(offset: start, expected: counters.expected)
                }
                try reader.skip(count)
            }
            if itsColumn <= column {
                guard itsColumn == column, !isComplex, !hasCells || compareBytes(path, itsPath) < 0 else {
                    throw .unexpected(offset: start, expected: "cells in order")
                }
            }
            column = itsColumn
            hasCells = !isComplex
            path = itsPath
        }
    }
}
