import Primitives
import Testing

@Suite struct Murmur3Tests {
    @Test func tokensMatchThoseOfDrivers() {
        #expect(Murmur3.token(Array("123".utf8)) == -7_468_325_962_851_647_638)
        let repeated = Array(repeating: [0x00, 0xff, 0x10, 0xfa, 0x99] as [UInt8], count: 10).flatMap(\.self)
        #expect(Murmur3.token(repeated) == 5_837_342_703_291_459_765)
        #expect(Murmur3.token([UInt8](repeating: 0xfe, count: 8)) == -8_927_430_733_708_461_935)
        #expect(Murmur3.token([UInt8](repeating: 0x10, count: 8)) == 1_446_172_840_243_228_796)
        #expect(Murmur3.token(Array("9223372036854775807".utf8)) == 7_162_290_910_810_015_547)
    }
}
