"""From speech on disk to mixtures: corpora, LibriMix's metadata and rendering, packed speech, mixing on the fly."""
