"""`python -m scripts.build_builtin --out DIR --seed 0`: train both weight files from scratch.

Needs `pip install -e '.[builtin]'`. Takes about an hour on a CPU. The teacher's embeddings are kept
in DIR/cache, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file

from dspt.backbones.builtin import files
from dspt.backbones.builtin.loader import load_model
from dspt.backbones.builtin.model import LOGIT_SCALE, TEMPERATURE
from scripts.build_builtin import words
from scripts.build_builtin.batches import Batches
from scripts.build_builtin.corpus import build_corpus
from scripts.build_builtin.distil import STEPS, distil, recall
from scripts.build_builtin.image_head import build_image_head
from scripts.build_builtin.student import at_clip_scale, new_student
from scripts.build_builtin.teacher import Teacher


def main() -> None:
    options = _options()
    begun = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.0f} s] {line}", flush=True)

    out: Path = options.out
    teacher = Teacher(out / "cache", options.device, report)
    tokenizer = SimpleTokenizer()
    head, targets = build_image_head(teacher)
    corpus = build_corpus(tokenizer, teacher.vocabulary, options.seed, options.fraction)
    report(
        f"corpus: {len(corpus.general.phrase)} sentences, {len(corpus.names.phrase)} with class "
        f"names of public data sets, {len(corpus.held_out.phrase)} held out"
    )
    general = targets(teacher.embed(corpus.general.texts(), "corpus"))
    names = targets(teacher.embed(corpus.names.texts(), "class names"))
    held_out = targets(teacher.embed(corpus.held_out.texts(), "held-out words"))
    tokens = targets(teacher.embed(words.token_strings(tokenizer), "single tokens"))

    generator = torch.Generator().manual_seed(options.seed)
    student = new_student(tokens, generator)
    batches = Batches(corpus, general, names, tokenizer, options.seed)
    report("distil: started")
    distil(student, batches, options.steps, options.device, generator, report)

    out.mkdir(parents=True, exist_ok=True)
    save_file(
        head,
        out / files.IMAGE_HEAD,
        metadata={"temperature": f"{TEMPERATURE:g}", "logit_scale": f"{LOGIT_SCALE:g}"},
    )
    save_file(
        at_clip_scale(student.state_dict()),
        out / files.TEXT_TOWER,
        metadata={
            "width": "256",
            "layers": "4",
            "heads": "4",
            "output_dim": "512",
            "context_length": "77",
            "logit_scale": f"{LOGIT_SCALE:g}",
        },
    )
    model, digest = load_model(out)
    prompts = [tokenizer.encode(text) for text in corpus.held_out.texts()]
    cosine, nearest = recall(model.text, prompts, held_out)
    report(f"held-out words: cosine {cosine:.4f} with the teacher, nearest {nearest:.1%}")
    report(f"written to {out}; digest {digest}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.build_builtin", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of 384 sentences")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="share of the corpus, for a trial run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
