"""Makes small random checkpoints with adapters, and says what transformers and PEFT make of folders that this package wrote.

    python peft_roundtrip.py

One JSON request a line on stdin, one JSON answer a line on stdout ({"error": ...} where a request failed). Every request has
"task" and "folder", and "model": {"family": "t5" | "decoder" | "encoder", "type": model_type, "auto": class of transformers,
"config": fields of config.json, "lora": fields of PEFT's LoraConfig}, and "records": token ids, "labels", "candidates".

    make     writes base/ (checkpoint and tokenizer) and adapter/; answers as `adapter` does, with "plain", the logits without adapter
    adapter  loads base/ with the adapter folder "adapter"; answers {"logits": [[...], ...], "tokens": [[...], ...]}
    merged   the same of the checkpoint folder "merged"

Logits are those that the addon's `logits` gives: T5, a row per label; decoders, a row per token; encoders, a row per record, 20
times the cosine similarity of its mean-pooled states with every candidate's. Tokens: 64 greedily chosen ones per record, none for encoders.
"""

import json
import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

NEW_TOKENS = 64
SIMILARITY_SCALE = 20
# PEFT warns of keys it misses or does not know, transformers tells; either means that the folder is not what Python writes.
warnings.filterwarnings("error", message=".*(missing|unexpected) (adapter )?keys.*")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def randomise(parameters, generator: torch.Generator) -> None:
    """Matrices of some size, and norms and biases that are not 1 and 0: what is left out shows."""
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * 0.2)
            else:
                parameter.add_(noise * 0.1)


def write_tokenizer(folder: Path, size: int) -> None:
    words = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(3, size))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    fast.save_pretrained(folder)


def encoder_of(model):
    """The encoder itself, also where it stands in a class with a head or in PEFT's."""
    inner = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    return inner.base_model


def logits_of(request: dict, model) -> torch.Tensor:
    family = request["model"]["family"]
    row = lambda ids: torch.tensor([ids])
    if family == "t5":
        pairs = zip(request["records"], request["labels"])
        return torch.cat([model(input_ids=row(ids), labels=row(labels)).logits[0] for ids, labels in pairs])
    if family == "decoder":
        return torch.cat([model(input_ids=row(ids)).logits[0] for ids in request["records"]])
    encoder = encoder_of(model)

    def embed(texts):
        means = [encoder(input_ids=row(ids)).last_hidden_state[0].mean(0) for ids in texts]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)

    return SIMILARITY_SCALE * embed(request["records"]) @ embed(request["candidates"]).T


def generated(request: dict, model) -> list:
    family = request["model"]["family"]
    if family == "encoder":
        return []
    tokens = []
    for ids in request["records"]:
        settings = {"do_sample": False, "min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS}
        given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        out = model.generate(**given, **settings)[0].tolist()
        tokens.append(out[1:] if family == "t5" else out[len(ids) :])
    return tokens


def answer(request: dict, model) -> dict:
    model.eval()
    with torch.no_grad():
        return {"logits": logits_of(request, model).tolist(), "tokens": generated(request, model)}


def load(folder: Path, auto: str):
    model, info = getattr(transformers, auto).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    problems = {key: sorted(map(str, found)) for key, found in info.items() if found}
    if problems:
        raise ValueError(f"{folder}: {problems}")
    return model


def make(request: dict) -> dict:
    folder, description = Path(request["folder"]), request["model"]
    config = transformers.AutoConfig.for_model(description["type"], **description["config"])
    generator = torch.Generator().manual_seed(1)
    model = getattr(transformers, description["auto"]).from_config(config)
    randomise(model.parameters(), generator)
    model.save_pretrained(folder / "base")
    write_tokenizer(folder / "base", config.vocab_size)
    plain = answer(request, load(folder / "base", description["auto"]))["logits"]
    base = load(folder / "base", description["auto"])
    adapted = peft.get_peft_model(base, peft.LoraConfig(**description["lora"]))
    randomise((p for name, p in adapted.named_parameters() if "lora_" in name), generator)
    adapted.save_pretrained(folder / "adapter")
    return {**answer(request, adapted), "plain": plain}


def adapter(request: dict) -> dict:
    # What is written here fits the plain encoder, whatever class its adapter came from.
    auto = "AutoModel" if request["model"]["family"] == "encoder" else request["model"]["auto"]
    folder = Path(request["folder"]) / "base"
    base = getattr(transformers, auto).from_pretrained(folder, dtype=torch.float32)
    return answer(request, peft.PeftModel.from_pretrained(base, request["adapter"]))


def merged(request: dict) -> dict:
    folder = Path(request["merged"])
    # Not AutoTokenizer, which rebuilds the tokenizers of some families from scratch.
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    if tokenizer("w3 w5")["input_ids"] != [3, 5] or tokenizer.chat_template is None:
        raise ValueError(f"{folder}: its tokenizer is not the checkpoint's")
    return answer(request, load(folder, request["model"]["auto"]))


def main() -> None:
    torch.set_num_threads(1)
    tasks = {"make": make, "adapter": adapter, "merged": merged}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = tasks[request["task"]](request)
        except Exception as error:  # the test tells it
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
