import Primitives
import Testing

@testable import DataModel

@Suite struct BigNumberTests {
    @Test func smallNumbersAgreeWithMachineIntegers() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<5000 {
            let a = Int64(truncatingIfNeeded: random.next()) >> Int64(random.next() % 63)
            let b = Int64(truncatingIfNeeded: random.next()) >> Int64(random.next() % 63)
            let (x, y) = (BigInteger(a), BigInteger(b))
            #expect(x.int64 == a)
            #expect(BigInteger(native: x.native) == x)
            #expect(x.description == String(a))
            #expect(BigInteger(String(a)) == x)
            #expect(x.compare(y).signum() == (a < b ? -1 : a > b ? 1 : 0))
            let (sum, overflow) = a.addingReportingOverflow(b)
            if !overflow { #expect((x + y).int64 == sum) }
            let (difference, overflow2) = a.subtractingReportingOverflow(b)
            if !overflow2 { #expect((x - y).int64 == difference) }
            let full = a.multipliedFullWidth(by: b)
            if full.high == (Int64(bitPattern: full.low) >> 63) {
                #expect((x * y).int64 == Int64(bitPattern: full.low))
            }
            if b != 0, !(a == .min && b == -1) {
                let result = try #require(x.dividedBy(y))
                #expect(result.quotient.int64 == a / b)
                #expect(result.remainder.int64 == a % b)
            }
        }
    }

    @Test func quotientTimesDivisorPlusRemainderIsTheDividend() throws {
        var random = SeededRandom(seed: 11)
        for round in 0..<500 {
            func number(_ limbs: Int) -> BigInteger {
                // Runs of ones and zeros reach corrections that random limbs seldom need.
                let bytes = (0..<(limbs * 4)).map { _ in
                    let value = random.next()
                    return round % 2 == 0 ? UInt8(truncatingIfNeeded: value) : (value & 1 == 0 ? 0xff : 0x00)
                }
                return BigInteger(native: [0] + bytes)
            }
            let a = number(Int(random.next() % 12) + 1)
            let b = number(Int(random.next() % 6) + 1)
            guard let (quotient, remainder) = a.dividedBy(b) else { continue }
            #expect(quotient * b + remainder == a)
            #expect(BigInteger.compareMagnitudes(remainder.limbs, b.limbs) < 0)
            #expect(BigInteger(a.description) == a)
        }
    }

    @Test func nativeFormIsTheShortest() {
        #expect(BigInteger(0).native == [0])
        #expect(BigInteger(127).native == [127])
        #expect(BigInteger(128).native == [0, 128])
        #expect(BigInteger(-128).native == [128])
        #expect(BigInteger(-129).native == [255, 127])
        #expect(BigInteger(native: [0xff, 0xff, 0xff]) == BigInteger(-1))
        #expect(BigInteger(native: [0x80, 0, 0, 0]) == BigInteger(-2_147_483_648))
        #expect(BigInteger(native: [0x80, 0, 0, 0, 0, 0, 0, 0]) == BigInteger(.min))
    }

    @Test func decimals() throws {
        func decimal(_ text: String) throws -> BigDecimal { try #require(BigDecimal(text)) }
        #expect(try decimal("1.5").adding(try decimal("2.25"))?.description == "3.75")
        #expect(try decimal("1.5").multiplied(by: try decimal("-2.0"))?.description == "-3.00")
        #expect(try decimal("1").divided(by: try decimal("8"))?.description == "0.125")
        #expect(try decimal("10").divided(by: try decimal("0")) == nil)
        #expect(try decimal("7").remainder(dividingBy: try decimal("2.5"))?.description == "2.0")
        #expect(try decimal("1E+1000000").adding(try decimal("1")) == nil)
        #expect(try decimal("12.99").integerPart?.description == "12")
        #expect(try decimal("-1E+3").integerPart?.description == "-1000")
        #expect(try decimal("2.5").divided(by: try decimal("1"), scale: 0, halfEven: true)?.description == "2")
        #expect(try decimal("3.5").divided(by: try decimal("1"), scale: 0, halfEven: true)?.description == "4")
        #expect(BigDecimal("1e") == nil)
        #expect(BigDecimal(".") == nil)
        #expect(BigDecimal("1E+99999999999") == nil)
    }

    @Test func tooManyDigitsAreRefused() {
        #expect(BigInteger(String(repeating: "9", count: BigInteger.maximumDigits)) != nil)
        #expect(BigInteger(String(repeating: "9", count: BigInteger.maximumDigits + 1)) == nil)
        #expect(throws: ValueError.self) {
            try CQLType.varint.validate([UInt8](repeating: 1, count: CQLType.maximumVarintBytes + 1))
        }
    }
}
