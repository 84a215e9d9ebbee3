/// The parts of the node that a `LoopDriver` needs and that need the drivers themselves.
///
/// `ClusterService` owns it and gives it to every driver; drivers hold it weakly.
final class DriverParts: Sendable {
    let hints: HintHandoff
    let views: ClusterViews
    let fetcher: MetadataFetcher
    let files: FileTransfers
    let answers: MetadataAnswers

    init(
        hints: HintHandoff, views: ClusterViews, fetcher: MetadataFetcher, files: FileTransfers,
        answers: MetadataAnswers
    ) {
        self.hints = hints
        self.views = views
        self.fetcher = fetcher
        self.files = files
        self.answers = answers
    }
}
