"""The figure of docs/what-a-prompt-can-do.md: exact curve, certified band, gradient descent."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from constructions.files import read_data, read_model
from constructions.single_layer.curve import loss_curve
from verify.claims.prompt_law import problem_of
from verify.search import adversary

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
LENGTHS = [1, 2, 4, 8, 16, 32, 64]


def main() -> None:
    model = read_model(HERE.parent / "examples" / "layer.json")
    data = read_data(HERE.parent / "examples" / "pair.json")
    problem = problem_of(model, data)
    *bounds, limit = list(loss_curve(problem, [*LENGTHS, None]))
    figure, axes = plt.subplots(figsize=(7, 4))
    lower, upper = [float(b.lower) for b in bounds], [float(b.upper) for b in bounds]
    axes.fill_between(LENGTHS, 0, lower, alpha=0.15, label="certified: no prompt of this length is here")
    axes.plot(LENGTHS, upper, label="exact curve (certified band 10⁻⁸ wide)")
    axes.axhline(float(limit.upper), linestyle="--", linewidth=1, label="prompts of any length")
    for restart in range(6):
        for length in LENGTHS:
            attack = adversary(*problem.attention_only(), lengths=[length], restarts=1, seed=restart, max_iterations=60)
            label = "gradient descent, 60 steps" if restart == 0 and length == 1 else None
            axes.plot([length], [attack.loss], "k.", alpha=0.5, label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, None)
    axes.set_xlabel("prompt tokens (at most)")
    axes.set_ylabel("loss before the MLP")
    axes.legend()
    figure.tight_layout()
    figure.savefig(HERE / "one-query.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
