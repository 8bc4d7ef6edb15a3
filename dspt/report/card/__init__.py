"""Model cards: data, accuracy, settings and limits of a tuned classifier.

After "Model Cards for Model Reporting" (Mitchell et al., FAT* 2019, arXiv 1810.03993). `card_of`
builds a `ModelCard`; `to_markdown` and `curves_svg` render it.
"""

from dspt.report.card.build import card_of
from dspt.report.card.curves import curves_svg
from dspt.report.card.markdown import to_markdown, write_card
from dspt.report.card.schema import JobRecord, ModelCard

__all__ = ["JobRecord", "ModelCard", "card_of", "curves_svg", "to_markdown", "write_card"]
