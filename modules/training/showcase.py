"""Pictures that show what a model and its networks do: previews for cards, and contact sheets."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw

from modules.models import Model, decode
from modules.prompt import Tokenizer
from modules.training.examples import to_tokens
from modules.training.milestones import sample_latents

LABEL = 14  # px below a picture for its name


def draw(
    model: Model,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative: str = "",
    words: dict[str, tuple[int, ...]] | None = None,
    scale: float = 3.0,
    steps: int = 16,
    batch: int = 12,
) -> list[Image.Image]:
    """Draw 128 px pictures. `words` are learnt words with the token ids that stand for them while attached."""
    context, against = encode_texts(model, prompts, words), encode_texts(model, [negative], words)
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        part = slice(start, start + batch)
        latents = sample_latents(model.unet, context[part], against, seeds[part], scale=scale, steps=steps)
        pixels = decode(model, latents).mul(255).round().byte().permute(0, 2, 3, 1)
        pictures += [Image.fromarray(picture.numpy()) for picture in pixels]
    return pictures


@torch.no_grad()
def encode_texts(model: Model, texts: Sequence[str], words: dict[str, tuple[int, ...]] | None = None) -> torch.Tensor:
    """Return the contexts (B, 77, W) of plain texts, learnt words in them included."""
    tokenizer = Tokenizer()
    rows = []
    for text in texts:
        word = next((word for word in words or {} if word in text), "")
        rows.append(to_tokens(text, tokenizer, word=word, ids=(words or {}).get(word, ())))
    return model.text_encoder(torch.tensor(rows)).last_hidden_state


def lay_out(pictures: Sequence[Image.Image], labels: Sequence[str], *, columns: int, side: int = 96) -> Image.Image:
    """Put pictures into a grid, each with its name below it."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 4) + 4, rows * (side + LABEL + 4) + 4), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = 4 + i % columns * (side + 4), 4 + i // columns * (side + LABEL + 4)
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + side // 2, y + side), label, fill="black", anchor="ma")
    return sheet


def make_mosaic(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Join equal pictures to one without gaps: a preview for a card."""
    width, height = pictures[0].size
    mosaic = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for i, picture in enumerate(pictures):
        mosaic.paste(picture, (i % columns * width, i // columns * height))
    return mosaic
