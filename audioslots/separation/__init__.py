"""From a model of short chunks to estimates of whole recordings."""
