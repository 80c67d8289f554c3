"""What SEC's losses cost, without the CRF, next to VGG-16's forward and backward pass (wanted: below 5 %).

`python -m benchmarks.losses_step` prints a markdown table: LargeFOV at 321 px, 21 classes, on one thread.
"""

import argparse

import torch
from torch import Tensor

from benchmarks.clock import cpu_seconds, heading
from weakseg.losses import sec_loss_terms
from weakseg.networks.backbones.vgg16 import vgg_largefov
from weakseg.training import weighted_sum

CLASSES, SIDE_PX, GRID = 21, 321, 41
WEIGHTS = {"seed": 1.0, "expand": 1.0, "constrain": 1.0}


def supervision(batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cues on a quarter of the locations, two classes present, a CRF's log-probabilities."""
    random = torch.Generator().manual_seed(0)
    labels = torch.zeros(batch_size, CLASSES - 1, dtype=torch.bool)
    labels[:, :2] = True
    classes = torch.randint(0, 12, (batch_size, 1, GRID, GRID), generator=random)  # 0, 1, 2: a cue; else none
    cues = (classes == torch.arange(CLASSES).view(1, -1, 1, 1)) & (classes < 3)
    log_q = torch.randn(batch_size, CLASSES, GRID, GRID, generator=random).log_softmax(1)
    return cues, labels, log_q


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=15, help="images of a training step (default 15)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the best of which counts (default 3)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = vgg_largefov(CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randint(0, 256, (args.batch_size, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8)
    cues, labels, log_q = supervision(args.batch_size)
    logits = torch.randn(args.batch_size, CLASSES, GRID, GRID)

    def network_pass() -> None:
        network(images).mean().backward()

    def losses() -> None:
        leaf = logits.clone().requires_grad_()
        weighted_sum(sec_loss_terms(leaf, cues, labels, log_q, WEIGHTS), WEIGHTS).backward()  # type: ignore[no-untyped-call]

    losses()
    loss_seconds = cpu_seconds(losses, 3 * args.repeats)
    network_seconds = cpu_seconds(network_pass, args.repeats)
    print(heading(f"batch {args.batch_size}, {SIDE_PX} px, {CLASSES} classes"))
    print("| what | seconds | share |\n|---|---:|---:|")
    print(f"| VGG-16 LargeFOV, forward and backward | {network_seconds:.3f} | 100 % |")
    print(
        f"| SEC's three losses, forward and backward | {loss_seconds:.4f} | {100 * loss_seconds / network_seconds:.2f} % |"
    )


if __name__ == "__main__":
    main()
