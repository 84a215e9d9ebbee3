import Cluster
import Fixtures
import Foundation
import Platform
import Testing

@testable import Node

@Suite struct ConfigurationTests {
    /// The path of `conf/auspex.yaml`, derived from this file's path.
    static let documented =
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/conf/auspex.yaml"

    @Test func documentedKeysAndDefaultsMatchTheCode() throws {
        let loaded = try NodeConfiguration.load(path: Self.documented, environment: [:], overrides: [])
        #expect(loaded == NodeConfiguration())

        var text = ""
        for key in ConfigurationKey.all { text += "\(key.name): \(key.text(in: NodeConfiguration()))\n" }
        var rebuilt = NodeConfiguration()
        rebuilt.clusterName = "changed"
        rebuilt.cacheSpace = 1
        try rebuilt.apply(yaml: text, path: "defaults")
        #expect(rebuilt == NodeConfiguration())
    }

    @Test func everyKeyIsDocumentedInOrder() throws {
        var documented: [String] = []
        let file = try NodeConfiguration.readFile(Self.documented)
        var group = ""
        for line in file.split(separator: "\n") where !line.drop(while: { $0 == " " }).hasPrefix("#") {
            let name = String(line.prefix { $0 != ":" })
            if line.hasSuffix(":") {
                group = name
            } else {
                documented.append(name.hasPrefix("  ") ? group + "." + name.dropFirst(2) : name)
            }
        }
        #expect(documented == ConfigurationKey.all.map(\.name))
    }

    /// Setting one key from text changes the value of no other key.
    @Test func everyKeySetsOnlyItsOwnField() throws {
        for key in ConfigurationKey.all {
            let others: [String: String] = [
                "commitlog_sync": "group", "commitlog_replay": "skip", "seeds": "10.0.0.1:7001,10.0.0.2",
                "replace_node": "11111111-2222-3333-4444-555555555555", "token_strategy": "random",
                "ring_partitions": "64",
                "internode_compression": "all", "phi_convict_threshold": "5.5", "hinted_handoff_enabled": "false",
                "stream_entire_sstables": "false",
                "endpoint_snitch": "org.apache.cassandra.locator.PropertyFileSnitch", "dynamic_snitch": "false",

                "dynamic_snitch_badness_threshold": "0.1",
                "server_encryption_options.internode_encryption": "dc",
            ]
            let current = key.text(in: NodeConfiguration())
            let changed =
                others[key.name]
                ?? (current == "false"
                    ? "true"
                    : current.hasSuffix("s") && !current.hasSuffix("/s") ? "7s" : Int(current) != nil ? "17" : "48MiB")
            var configuration = NodeConfiguration()
            try key.set(changed, in: &configuration, source: .commandLine)
            for other in ConfigurationKey.all {
                let differs = other.text(in: configuration) != other.text(in: NodeConfiguration())
                #expect(differs == (other.name == key.name), "\(key.name) set to \(changed) and \(other.name)")
            }
        }
    }

    @Test func laterSourcesOverrideEarlierOnes() throws {
        var configuration = NodeConfiguration()
        try configuration.apply(yaml: "native_transport_port: 1\nline_port: 2\nhttp_port: 3\n", path: "a.yaml")
        #expect(configuration.nativeTransportPort == 1)
        let loaded = try NodeConfiguration.load(
            path: Self.documented,
            environment: ["AUSPEX_NATIVE_TRANSPORT_PORT": "11", "AUSPEX_LINE_PORT": "12", "HOME": "/root"],
            overrides: ["line_port=22", "cache_space=1.5GiB", "cluster_name=a=b"])
        #expect(loaded.nativeTransportPort == 11)
        #expect(loaded.linePort == 22)
        #expect(loaded.httpPort == 9180)
        #expect(loaded.cacheSpace == 3 << 29)
        #expect(loaded.clusterName == "a=b")
    }

    @Test(arguments: [
        (
            "comitlog_sync: batch",
            "test.yaml: unknown configuration key 'comitlog_sync'; did you mean 'commitlog_sync'?"
        ),
        ("zzz: 1", "test.yaml: unknown configuration key 'zzz'; conf/auspex.yaml lists them all"),
        ("commitlog_sync: sometimes", "test.yaml: commitlog_sync is 'sometimes'; it must be periodic, group or batch"),
        (
            "read_request_timeout: 5",
            "test.yaml: read_request_timeout is '5'; it must be a duration with its unit, such as 500ms, 10s or 2m"
        ),
        (
            "cache_space: -1MiB",
            "test.yaml: cache_space is '-1MiB'; it must be a size from 0 to 16384GiB, such as 32MiB"
        ),
        ("line_port: 70000", "test.yaml: line_port is '70000'; it must be a whole number from 0 to 65535"),
        (
            "endpoint_snitch: Ec2Snitch",
            "test.yaml: endpoint_snitch is 'Ec2Snitch'; it must be one of SimpleSnitch, GossipingPropertyFileSnitch, PropertyFileSnitch"
        ),
        (
            "server_encryption_options: {internode_encryptio: all}",
            "test.yaml: unknown configuration key 'server_encryption_options.internode_encryptio'; did you mean "
                + "'server_encryption_options.internode_encryption'?"
        ),
        (
            "client_encryption_options: true",
            "test.yaml: client_encryption_options is 'not a mapping'; it must be a mapping of keys to values"
        ),
        (
            "client_encryption_options: {enabled: yes}",
            "test.yaml: client_encryption_options.enabled is 'yes'; it must be true or false"
        ),
        ("line_port: {a: 1}", "test.yaml: line_port is 'a list or mapping'; it must be one value"),
        ("line_port: [1]", "test.yaml: line_port is 'a list or mapping'; it must be one value"),
        ("[1, 2]", "test.yaml is not a YAML mapping of keys to values: the top level is not a mapping"),
        ("cluster_name: ''", "test.yaml: cluster_name is ''; it must be a text that is not empty"),
    ])
    func refusals(yaml: String, message: String) {
        var configuration = NodeConfiguration()
        var said = "nothing"
        do throws(ConfigurationError) { try configuration.apply(yaml: yaml, path: "test.yaml") } catch {
            said = error.description
        }
        #expect(said == message)
    }

    /// Loads a configuration file with the snitch's files beside it.
    private func load(_ yaml: String, _ files: [String: String] = [:]) throws -> NodeConfiguration {
        try withTemporaryDirectory { directory in
            for (name, text) in files.merging(["auspex.yaml": yaml], uniquingKeysWith: { _, last in last }) {
                try text.write(toFile: directory + "/" + name, atomically: false, encoding: .utf8)
            }
            return try NodeConfiguration.load(path: directory + "/auspex.yaml", environment: [:], overrides: [])
        }
    }

    @Test func snitchReadsCassandrasPropertyFiles() throws {
        let simple = try load("data_center: a\nrack: b")
        #expect(simple.dataCenter == "a" && simple.rack == "b")
        let gossiping = try load(
            "endpoint_snitch: GossipingPropertyFileSnitch",
            ["cassandra-rackdc.properties": "# here\ndc=dc1\nrack = r1\nprefer_local=true\n"])
        #expect(gossiping.dataCenter == "dc1" && gossiping.rack == "r1")
        let named = try load(
            "endpoint_snitch: PropertyFileSnitch\nlisten_address: 10.0.0.2",
            ["cassandra-topology.properties": "10.0.0.1=a:b\n10.0.0.2=c:d\n"])
        #expect(named.dataCenter == "c" && named.rack == "d")
        let other = try load(
            "endpoint_snitch: PropertyFileSnitch", ["cassandra-topology.properties": "10.0.0.1=a:b\ndefault=e:f\n"])
        #expect(other.dataCenter == "e" && other.rack == "f")
    }

    @Test(arguments: [
        ("endpoint_snitch: GossipingPropertyFileSnitch", "", "cassandra-rackdc.properties: No such file or directory"),
        ("endpoint_snitch: GossipingPropertyFileSnitch", "dc=a", "rack is missing; expected dc=NAME and rack=NAME"),
        (
            "endpoint_snitch: GossipingPropertyFileSnitch", "dc=a\nrak=b",
            "line 2: 'rak' is unknown; dc, rack, prefer_local, dc_suffix are known"
        ),
        ("endpoint_snitch: GossipingPropertyFileSnitch", "dc=a\ndc=b", "line 2: dc is given twice"),
        ("endpoint_snitch: GossipingPropertyFileSnitch\nrack: c", "dc=a\nrack=b", "leave rack out"),
        (
            "endpoint_snitch: PropertyFileSnitch", "10.0.0.1=a:b",
            "neither 127.0.0.1, the listen_address, nor a line default=DC:RACK"
        ),
        ("endpoint_snitch: PropertyFileSnitch", "10.0.0.1=a", "line 1: expected data-center:rack after '='"),
    ])
    func filesThatDoNotSayWhere(yaml: String, text: String, message: String) {
        let file = yaml.contains("Gossiping") ? NodeConfiguration.rackFile : NodeConfiguration.topologyFile
        let error = #expect(throws: ConfigurationError.self) { try load(yaml, text.isEmpty ? [:] : [file: text]) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test func contradictorySettingsAreRefused() {
        #expect(throws: ConfigurationError.self) {
            try NodeConfiguration.load(path: nil, environment: [:], overrides: ["commitlog_segment_size=8MiB"])
        }
        #expect(throws: ConfigurationError.malformedOverride("x")) {
            try NodeConfiguration.load(path: nil, environment: [:], overrides: ["x"])
        }
        #expect(throws: ConfigurationError.self) {
            try NodeConfiguration.load(path: "/nonexistent/auspex.yaml", environment: [:], overrides: [])
        }
    }

    /// Groups of keys: as a YAML mapping, with dots, and as an environment variable.
    @Test func groupedKeys() throws {
        var configuration = NodeConfiguration()
        try configuration.apply(
            yaml: """
                server_encryption_options:
                  internode_encryption: dc
                  keystore: a.pem
                  truststore:
                client_encryption_options.optional: true
                """, path: "test.yaml")
        #expect(configuration.serverEncryption.internodeEncryption == "dc")
        #expect(configuration.serverEncryption.keystore == "a.pem")
        #expect(configuration.serverEncryption.truststore == "")
        #expect(configuration.clientEncryption.optional)
        let loaded = try NodeConfiguration.load(
            path: Self.documented,
            environment: [
                "AUSPEX_CLIENT_ENCRYPTION_OPTIONS_ENABLED": "true",
                "AUSPEX_CLIENT_ENCRYPTION_OPTIONS_KEYSTORE": "c.pem",
            ],
            overrides: [
                "server_encryption_options.optional=true", "server_encryption_options.keystore=s.pem",
                "server_encryption_options.truststore=t.pem",
            ])
        #expect(loaded.clientEncryption.enabled)
        #expect(loaded.clientEncryption.keystore == "c.pem")
        #expect(loaded.serverEncryption.optional)
    }

    /// Kubernetes makes such variables for a service called `auspex`.
    @Test func unknownVariablesAreIgnoredWithAWarning() throws {
        let loaded = try NodeConfiguration.load(
            path: nil,
            environment: [
                "AUSPEX_PORT": "tcp://10.0.0.7:9042", "AUSPEX_SERVICE_HOST": "10.0.0.7", "AUSPEX_LINE_PORT": "12",
            ], overrides: [])
        #expect(loaded.linePort == 12)
        #expect(loaded.warnings.count == 2 && loaded.warnings.allSatisfy { $0.contains("ignored") })
        #expect(loaded.warnings.contains { $0.contains("AUSPEX_PORT") })
        // Elsewhere an unknown key is a mistake of the operator.
        #expect(throws: ConfigurationError.self) {
            try NodeConfiguration.load(path: nil, environment: [:], overrides: ["port=1"])
        }
    }

    /// For each value of the keys: which connections are encrypted, and what a node accepts.
    @Test func encryptionBetweenNodes() {
        let own = Location(dataCenter: "a", rack: "1")
        let others: [(String, Location?)] = [
            ("own rack", own), ("own data center", Location(dataCenter: "a", rack: "2")),
            ("far", Location(dataCenter: "b", rack: "1")),
            ("unknown", nil),
        ]
        let expected: [String: (encrypted: [String], listening: Encryption)] = [
            "none": ([], .none), "all": (["own rack", "own data center", "far", "unknown"], .required(.nodes)),
            "dc": (["far", "unknown"], .optional(.nodes)),
            "rack": (["own data center", "far", "unknown"], .optional(.nodes)),
        ]
        for (value, (encrypted, listening)) in expected {
            var options = ServerEncryptionOptions()
            options.internodeEncryption = value
            #expect(
                others.filter { other in options.encrypts(to: { other.1 }, from: own) }.map(\.0) == encrypted,
                "\(value)")
            #expect(options.listening == listening, "\(value)")
            options.optional = true
            #expect(options.listening == .optional(.nodes), "\(value)")
        }
    }

    @Test(arguments: [
        ["server_encryption_options.internode_encryption=all"],
        ["server_encryption_options.optional=true", "server_encryption_options.keystore=a"],
        ["client_encryption_options.enabled=true"],
        [
            "client_encryption_options.enabled=true", "client_encryption_options.keystore=a",
            "client_encryption_options.require_client_auth=true",
        ],
        ["native_transport_port_ssl=9142"],
    ])
    func encryptionWithoutCertificates(overrides: [String]) {
        #expect(throws: ConfigurationError.self) {
            try NodeConfiguration.load(path: nil, environment: [:], overrides: overrides)
        }
    }

    @Test func quantities() {
        #expect(Quantity.bytes("32MiB") == 32 << 20)
        #expect(Quantity.bytes("1.5 KiB") == 1536)
        #expect(Quantity.bytes("17") == 17)
        #expect(Quantity.bytes("9223372036854775807") == Int.max)
        #expect(Quantity.bytes("9223372036854775807KiB") == nil)
        for bad in ["", "MiB", "1.MiB", ".5MiB", "1..5MiB", "1mib", "1 2", "1e3", "-1", "٣MiB", "1.1234567MiB"] {
            #expect(Quantity.bytes(bad) == nil, "\(bad)")
        }
        #expect(Quantity.duration("1.8s") == .milliseconds(1800))
        #expect(Quantity.duration("2m") == .seconds(120))
        #expect(Quantity.duration("0") == .zero)
        #expect(Quantity.duration("10") == nil)
        #expect(Quantity.text(duration: .milliseconds(1800)) == "1800ms")
        #expect(Quantity.text(bytes: 16 << 30) == "16GiB")
    }

    @Test func nearestName() {
        #expect(
            NearestName.of("native_port", among: ["cache_space", "native_transport_port", "line_port"])
                == "native_transport_port")
        #expect(NearestName.of("chache_space", among: ["cache_space", "memtable_space"]) == "cache_space")
        #expect(NearestName.of("x", among: ["cache_space"]) == nil)
        #expect(NearestName.editDistance(Array("kitten".utf8), Array("sitting".utf8)) == 3)
    }
}
