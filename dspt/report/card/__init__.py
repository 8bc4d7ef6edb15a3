"""Model cards: what a tuned classifier is made of, how good it is, and what that does not say.

After "Model Cards for Model Reporting" (Mitchell et al., FAT* 2019, arXiv 1810.03993). A card is
one structure, `ModelCard`; `to_markdown` and `curves_svg` draw it.
"""

from dspt.report.card.build import card_of
from dspt.report.card.curves import curves_svg
from dspt.report.card.files import write_card
from dspt.report.card.markdown import to_markdown
from dspt.report.card.schema import JobRecord, ModelCard

__all__ = ["JobRecord", "ModelCard", "card_of", "curves_svg", "to_markdown", "write_card"]
