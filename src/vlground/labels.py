"""Names of scores and of what they are shown as; nothing is imported to know them."""

CELLS = ("correct_high", "correct_low", "wrong_high", "wrong_low")
# Which text -> the columns of rows with its probability and with its cell.
TEXTS = {"matched": ("match", "cell"), "foil": ("foil_match", "foil_cell")}
ACCURACIES = ("accuracy", "matched_accuracy", "foil_accuracy")
MATRIX = (*ACCURACIES, *(f"{text}_{cell}" for text in TEXTS for cell in CELLS))

# Score -> column head; the arrow says what is better.
COLUMNS = {
    "pointing_game": "PG ↑",
    "pg_uncertainty": "PG unc. ↓",
    "io_ratio": "IO_ratio ↑",
    "io_lift": "IO lift ↑",
    "iou_soft": "IoU soft ↑",
    "iou_binary": "IoU bin. ↑",
    "dice_soft": "Dice soft ↑",
    "dice_binary": "Dice bin. ↑",
    "wdp_soft": "WDP* soft ↓",
    "wdp_binary": "WDP* bin. ↓",
}
MATRIX_COLUMNS = {
    "accuracy": "accuracy ↑",
    **{f"{text}_{cell}": f"{text} {cell.replace('_', ' ')}" for text in TEXTS for cell in CELLS},
}
NOTES = (
    "IO_ratio: also called energy pointing game and relevance mass accuracy. IO lift: IO_ratio "
    "over the box's share of the image, 1 for a uniform map. * WDP is reconstructed: its formula "
    "is not public. uniform, center, random and shuffled_text are baselines."
)
MATRIX_NOTES = (
    "Right or wrong × well or badly grounded. accuracy: of all decisions, on matched texts (the "
    "model should say that they fit: match ≥ {match}) and on foils (that they do not). The others "
    "are shares of the samples with a decision and a scored map: the decision is correct or wrong, "
    "the map high (IO_ratio ≥ {high}) or low."
)
FAITHFULNESS_COLUMNS = {
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "average_drop": "avg. drop ↓",
    "average_increase": "avg. increase ↑",
    "road_morf": "ROAD MoRF ↓",
    "road_lerf": "ROAD LeRF ↑",
    "road_combined": "ROAD ↑",
}
FAITHFULNESS_NOTES = (
    "Does the score depend on what the map highlights? No box is read. On the scale of the model's "
    "score unless metric.scale says otherwise, so models do not compare; CAMs of one model do."
)
# Of explanation runs. Of the shares only the accuracy has a better end.
EXPLANATION_COLUMNS = {
    "accuracy": "accuracy ↑",
    **{cell: cell.replace("_", " ") for cell in CELLS},
    "judge_score": "judge score ↑",
}
BASELINES = ("uniform", "center", "random", "shuffled_text", "shuffled_text_gscorecam")
