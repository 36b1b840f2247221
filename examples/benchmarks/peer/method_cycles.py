"""The method's own work on vectors alone: cycles whose gradients are read from a file instead of computed."""

import statistics
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy
import torch
from recurrent_kif import Cycle, Stopwatch

MAX_GRAD_NORM = 1.0


def measure(request):
    torch.set_num_threads(request["threads"])
    folder, shapes, device = Path(request["folder"]), request["shapes"], request["device"]
    values = [part.clone().requires_grad_() for part in parts(folder / "parameters.f32", shapes, device)]
    named = {f"parameter.{i}": value for i, value in enumerate(values)}
    gradients = [parts(file, shapes, device) for file in sorted(folder.glob("gradients-*.f32"))]
    watch = Stopwatch(torch.cuda.synchronize) if device == "cuda" else Stopwatch()
    cycle = Cycle(named, request["method"], watch)

    def loop(rates):
        optimizer, steps = torch.optim.AdamW(values, weight_decay=0.0, fused=True), iter(range(10**9))

        def step(measure):
            number = next(steps)
            for value, gradient in zip(values, gradients[number % len(gradients)]):
                value.grad = gradient.clone()
            torch.nn.utils.clip_grad_norm_(values, MAX_GRAD_NORM)
            measure()
            for group in optimizer.param_groups:
                group["lr"] = rates[number % len(rates)]
            optimizer.step()

        return step

    inner, outer = loop(request["rates"]["inner"]), loop(request["rates"]["outer"])
    seconds = []
    for number in range(request["cycles"] + 1):
        watch.seconds.clear()
        cycle.run(inner, outer)
        # The first one warms up.
        if number > 0:
            seconds.append(watch.seconds["method"])
        elif request["results"]:
            of_loop = [cycle.importance_in, cycle.importance_out]
            averages = [each for i in of_loop for each in (i.importance.values(), i.uncertainty.values())]
            write(folder / request["results"], [named.values(), *averages])
    return {"seconds": statistics.median(seconds)}


def parts(file, shapes, device):
    """Views of the flat vector in a file, one for each shape."""
    flat = torch.from_numpy(numpy.fromfile(file, dtype=numpy.float32)).to(device)
    ends = list(accumulate(map(prod, shapes)))
    return [flat[end - prod(shape) : end].view(shape) for end, shape in zip(ends, shapes)]


def write(file, vectors):
    tensors = [tensor.detach().flatten() for vector in vectors for tensor in vector]
    torch.cat(tensors).cpu().numpy().tofile(file)
