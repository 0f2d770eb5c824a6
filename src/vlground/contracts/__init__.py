"""The contracts between rooms: what scorers, target layers, CAMs and the others promise each other.

    pixels ──encode──▶ Encoded ──score(texts, owner)──▶ (q,)     a differentiable score
                                    ▲
             TargetLayer: a module inside `score` whose output a CAM reads and differentiates

    map ──Mask──▶ picture ──Judge──▶ Verdict
    image ──Captioner──▶ Caption ──Detector, SentenceScorer──▶ what is held against it

No CAM knows a model and no model knows a CAM. `owner[q]` says which image text `q` belongs to, so
an image is encoded once however many texts are asked of it.
"""

from vlground.contracts.scoring import CAM, Encoded, Kind, Scorer, TargetLayer, check_pair
from vlground.contracts.showing import Judge, JudgeRequest, Mask, Shows, Verdict
from vlground.contracts.writing import Caption, Captioner, Detection, Detector, SentenceScorer

__all__ = [
    "CAM",
    "Caption",
    "Captioner",
    "Detection",
    "Detector",
    "Encoded",
    "Judge",
    "JudgeRequest",
    "Kind",
    "Mask",
    "Scorer",
    "SentenceScorer",
    "Shows",
    "TargetLayer",
    "Verdict",
    "check_pair",
]
