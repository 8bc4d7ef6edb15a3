"""Model cards: what a tuned classifier is made of, how good it is, and what that does not say.

After "Model Cards for Model Reporting" (Mitchell et al., FAT* 2019, arXiv 1810.03993). A card is
one structure, `ModelCard`; `to_markdown` and `curves_svg` draw it.
"""

from dspt.card.build import card_of
from dspt.card.curves import curves_svg
from dspt.card.files import write_card
from dspt.card.markdown import to_markdown
from dspt.card.schema import JobRecord, ModelCard

__all__ = ["JobRecord", "ModelCard", "card_of", "curves_svg", "to_markdown", "write_card"]
