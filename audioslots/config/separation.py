"""The section ``separation`` of a variant: from decoded chunks to a whole recording."""

from __future__ import annotations

from typing import Literal

from audioslots.schema import Section, hyper


class Separation(Section):
    """Reconstruction of waveforms, order of chunks and overlap-add; a trained model serves any of it."""

    reconstruction: Literal["direct", "ratio", "misi"] = hyper(
        "direct",
        "direct: the model's waveforms, of decoded magnitudes with the mixture's phase; ratio: the decoded magnitudes "
        "of all slots as ratio masks on the mixture; misi: phases that fit magnitudes and mixture, by iteration",
        secondary="direct",
    )
    power: float = hyper(1.5, "ratio: of magnitudes, m_k^power / sum_j m_j^power; 1: ratio mask, 2: Wiener-like", gt=0)
    misi_iterations: int = hyper(5, "misi: iterations", ge=1)

    overlap: float = hyper(0.5, "share of a chunk that its successor covers too", ge=0.25, le=0.9)
    embedding_weight: float = hyper(4.0, "blind order: similarity of slots, relative to that of waveforms", ge=0)
    spectrum_weight: float = hyper(
        1.5, "blind order: similarity of long-term spectra, relative to that of waveforms", ge=0
    )
    quiet_db: float = hyper(
        0.0, "blind order: slots this far below their chunk give no embedding or spectrum, dB; 0: all do", ge=0
    )
    speaker_weight: float = hyper(
        0.0,
        "blind order: as spectrum_weight, but of single slots, so that it counts where others are quiet",
        ge=0,
    )
    extra_slots: Literal["drop", "merge"] = hyper(
        "drop", "slots beyond the sources: dropped, or each added to the output whose level it follows most"
    )
    longest_s: float = hyper(30.0, "chunk of a model that separates any length, at most, seconds", gt=0)
