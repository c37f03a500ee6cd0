"""Where snapshots are kept, and the documents that make them snapshots."""
