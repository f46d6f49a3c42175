"""Classify, attack and evaluate with a trained model: `python examples/use_a_model.py`.

Run it in the project's folder after `make run`. Paths of image files, other labels and any model
that `saft evaluate` takes go in the same places; docs/using.md has the rest.
"""

import numpy as np
from PIL import Image

from pipeline.prepare.rendering import composition
from saft import attack, classify, evaluate, load

LABELS = ["green heart", "red star", "blue ring", "yellow cross"]


def main() -> None:
    rng = np.random.default_rng(0)  # pictures such as the demo's; paths would do as well
    truth = [label for label in LABELS for _ in range(3)]
    pictures = [composition(shape, colour).draw(rng) for colour, shape in map(str.split, truth)]
    for name in ("base", "finetuned"):
        model = load(name)
        answer = classify(model, pictures[0], LABELS)
        print(f"{name}: {truth[0]} is taken for {answer.predicted[0]}")

        attacked = attack(model, pictures[0], truth[0], LABELS, epsilon_255=4, steps=20)
        after = attacked.labels[attacked.after.argmax()]
        print(f"{name}: attacked, for {after}; attention moved by {attacked.attention_moved:.2f}")
        Image.fromarray(attacked.rounded.transpose(1, 2, 0)).save(f"adversarial-{name}.png")

        result = evaluate(model, pictures, truth, LABELS, epsilon_255=4, steps=20)
        clean, robust = result.clean_accuracy, result.robust_accuracy
        print(f"{name}: right {clean.value:.0%}, under PGD-20 {robust.value:.0%} of {clean.images}")


if __name__ == "__main__":
    main()
