"""AudioSlots: mixture spectrogram in, an unordered set of source spectrograms out."""
