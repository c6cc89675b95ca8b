"""Write the suite files of the public 8-, 14- and 20-task benchmarks: `python assets/benchmarks/make.py`."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
MODELS = {
    "ViT-B-32": "clip-vit-base-patch32",
    "ViT-B-16": "clip-vit-base-patch16",
    "ViT-L-14": "clip-vit-large-patch14",
}
EIGHT = ["Cars", "DTD", "EuroSAT", "GTSRB", "MNIST", "RESISC45", "SVHN", "SUN397"]
FOURTEEN = [*EIGHT, "STL10", "OxfordIIITPet", "Flowers102", "CIFAR100", "PCAM", "FER2013"]
TWENTY = [*FOURTEEN, "CIFAR10", "Food101", "FashionMNIST", "RenderedSST2", "EMNIST", "KMNIST"]

# Where the loaders of task_vectors and tall_masks (src/datasets/) look for the test split below their data folder.
DATA = {
    "Cars": "stanford_cars/cars_test_annos_withlabels.mat",
    "DTD": "dtd/val",
    "EuroSAT": "EuroSAT_splits/test",
    "GTSRB": "gtsrb/GT-final_test.csv",
    "MNIST": "MNIST/raw/t10k-images-idx3-ubyte",
    "RESISC45": "resisc45/resisc45-test.txt",
    "SVHN": "svhn/test_32x32.mat",
    "SUN397": "sun397/val",
    "STL10": "stl10/stl10_binary/test_X.bin",
    "OxfordIIITPet": "OxfordIIITPet/oxford-iiit-pet/annotations/test.txt",
    "Flowers102": "flowers102/flowers-102/setid.mat",
    "CIFAR100": "cifar-100-python/test",
    "PCAM": "PCAM/test",
    "FER2013": "fer2013/icml_face_data.csv",
    "CIFAR10": "cifar-10-batches-py/test_batch",
    "Food101": "food101/food-101/meta/test.txt",
    "FashionMNIST": "FashionMNIST/FashionMNIST/raw/t10k-images-idx3-ubyte",
    "RenderedSST2": "RenderedSST2/rendered-sst2/test",
    "EMNIST": "EMNIST/EMNIST/raw/emnist-digits-test-images-idx3-ubyte",
    "KMNIST": "KMNIST/KMNIST/raw/t10k-images-idx3-ubyte",
}
NOTES = {
    "PCAM": "HDF5 is not read: parquet files of the test split, or images in the folders 0 and 1",
    "EMNIST": "the ten digits; another suite of the same name has 26 letters, and its head is refused here",
}
# The names that FusionBench's models and data sets have on the hub.
HUB = {
    "Cars": "stanford-cars",
    "DTD": "dtd",
    "EuroSAT": "eurosat",
    "GTSRB": "gtsrb",
    "MNIST": "mnist",
    "RESISC45": "resisc45",
    "SVHN": "svhn",
    "SUN397": "sun397",
    "STL10": "stl10",
    "OxfordIIITPet": "oxford-iiit-pet",
    "Flowers102": "oxford_flowers102",
    "CIFAR100": "cifar100",
    "PCAM": "pcam",
    "FER2013": "fer2013",
    "CIFAR10": "cifar10",
    "Food101": "food101",
    "FashionMNIST": "fashion_mnist",
    "RenderedSST2": "rendered-sst2",
    "EMNIST": "emnist_letters",
    "KMNIST": "kmnist",
}
# Where a data set on the hub has other classes, or orders them in another way, than its namesake elsewhere.
HUB_CLASSES = {"EMNIST": "EMNIST-letters", "FER2013": "FER2013-alphabetical"}
PHOTO = ["a photo of a {}.", "a photo of the {}.", "a close-up photo of a {}.", "a blurry photo of a {}."]
SATELLITE = ["a centered satellite photo of {}.", "a centered satellite photo of a {}.", "satellite imagery of {}."]
TEXTURE = ["a photo of a {} texture.", "a photo of a {} pattern.", "a photo of a {} thing."]
TEMPLATES = {
    "Cars": ["a photo of a {}.", "a photo of the {}.", "a photo of my {}.", "i love my {}!", "a photo of my clean {}."],
    "DTD": TEXTURE,
    "EuroSAT": SATELLITE,
    "GTSRB": ['a zoomed in photo of a "{}" traffic sign.', 'a centered photo of a "{}" traffic sign.'],
    "MNIST": ['a photo of the number: "{}".'],
    "RESISC45": SATELLITE,
    "SVHN": ['a photo of the number: "{}".'],
    "SUN397": ["a photo of a {}.", "a photo of the {}."],
    "OxfordIIITPet": ["a photo of a {}, a type of pet."],
    "Flowers102": ["a photo of a {}, a type of flower."],
    "PCAM": ["this is a photo of {}"],
    "FER2013": ["a photo of a {} looking face.", "a photo of a face showing the emotion: {}."],
    "Food101": ["a photo of {}, a type of food."],
    "RenderedSST2": ["a {} review of a movie."],
    "EMNIST": ['a photo of the character: "{}".'],
    "KMNIST": ["a photo of the character {}."],
}


def _text(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return "'" + str(value) + "'" if '"' in str(value) else f'"{value}"'


def _suite(layout: str, model: str, tasks: list[str]) -> str:
    hub = MODELS[model]
    pretrained = {
        "task_vectors": f"checkpoints/{model}/zeroshot.pt",
        "tall_masks": f"checkpoints/{model}/MNISTVal/nonlinear_zeroshot.pt",
        "hugging_face": f"{hub}",
    }[layout]
    below = {
        "task_vectors": "checkpoints/ as task_vectors publishes it, and data/",
        "tall_masks": "checkpoints/ as tall_masks publishes it, and data/",
        "hugging_face": f"openai's {hub}/ with its text tower, {hub}_<task>/, and data sets saved to disk in datasets/",
    }[layout]
    lines = [
        f"# {len(tasks)} tasks, {model}. The one line to edit is `root`: the folder that holds",
        f"# {below}.",
        "# Then `ri-analysis check` with this file says what is missing, all of it at once.",
        f'name = "{layout.replace("_", "-")}-{model}-{len(tasks)}"',
        'root = "/path/to/your/folder"',
        "",
        "[model]",
        f'architecture = "{model}-quickgelu"  # OpenAI\'s weights need quick-GELU',
        f'pretrained = "{pretrained}"'
        + ('  # or "openai", where it was not downloaded' if layout == "tall_masks" else ""),
    ]
    for task in tasks:
        lines += ["", "[[task]]", f'name = "{task}"', *_files(layout, model, task)]
    return "\n".join(lines) + "\n"


def _files(layout: str, model: str, task: str) -> list[str]:
    templates = _text(TEMPLATES.get(task, PHOTO))
    if layout == "hugging_face":
        known = HUB_CLASSES.get(task, task)
        return [
            f'expert = "{MODELS[model]}_{HUB[task]}"',
            f'classes = "../classes/{known}.txt"',
            f"templates = {templates}",
            f'data = "datasets/{HUB[task]}/test"',
        ]
    suffix, file = ("Val", "nonlinear_finetuned.pt") if layout == "tall_masks" else ("", "finetuned.pt")
    return [
        f'expert = "checkpoints/{model}/{task}{suffix}/{file}"',
        f'head = "checkpoints/{model}/head_{task}{suffix}.pt"',
        f'classes = "../classes/{task}.txt"',
        *([f"# {NOTES[task]}"] if task in NOTES else []),
        f'data = "data/{DATA[task]}"',
    ]


def main() -> None:
    """Write every suite file."""
    for layout in ("task_vectors", "tall_masks", "hugging_face"):
        (HERE / layout).mkdir(exist_ok=True)
        for model in MODELS:
            for tasks in (EIGHT, FOURTEEN, TWENTY):
                path = HERE / layout / f"{model}-{len(tasks)}.toml"
                path.write_text(_suite(layout, model, tasks), encoding="utf-8")


if __name__ == "__main__":
    main()
