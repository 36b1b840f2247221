"""Recurrent-KIF (arXiv 2502.17510) with torch operators over dicts of named parameters, as its published code is written."""

import time

import torch


class Importance:
    """Moving averages of |weight * gradient| and of its uncertainty, a tensor for each parameter."""

    def __init__(self, named, importance_decay, uncertainty_decay):
        self.named = named
        self.decays = importance_decay, uncertainty_decay
        self.reset()

    def reset(self):
        self.importance = {name: torch.zeros_like(p) for name, p in self.named.items()}
        self.uncertainty = {name: torch.zeros_like(p) for name, p in self.named.items()}

    @torch.no_grad()
    def update(self):
        a1, a2 = self.decays
        for name, parameter in self.named.items():
            current = (parameter * parameter.grad).abs()
            self.importance[name] = a1 * self.importance[name] + (1 - a1) * current
            deviation = (current - self.importance[name]).abs()
            self.uncertainty[name] = a2 * self.uncertainty[name] + (1 - a2) * deviation

    def scores(self):
        return {name: self.importance[name] * self.uncertainty[name] for name in self.named}


@torch.no_grad()
def snapshot(named):
    return {name: parameter.clone() for name, parameter in named.items()}


@torch.no_grad()
def restore(named, values):
    for name, parameter in named.items():
        parameter.copy_(values[name])


@torch.no_grad()
def difference(named, start):
    return {name: parameter - start[name] for name, parameter in named.items()}


def threshold(scores, quantile):
    """Of all elements. As torch.quantile, which sorts as well, but for the rank: that is off by some positions in long vectors."""
    ordered = torch.sort(torch.cat([score.flatten() for score in scores.values()])).values
    rank = quantile * (ordered.numel() - 1)
    low = int(rank)
    high = min(low + 1, ordered.numel() - 1)
    return torch.lerp(ordered[low], ordered[high], rank - low)


@torch.no_grad()
def fuse(named, start, tau_in, tau_out, scores_in, scores_out, quantile):
    """Each task vector where its own loop's score is important; both where both are; else the cycle's first weights."""
    threshold_in, threshold_out = threshold(scores_in, quantile), threshold(scores_out, quantile)
    for name, parameter in named.items():
        mask_in, mask_out = scores_in[name] >= threshold_in, scores_out[name] >= threshold_out
        merged = torch.where(mask_in, tau_in[name], 0.0) + torch.where(mask_out, tau_out[name], 0.0)
        parameter.copy_(start[name] + merged)


class Stopwatch:
    """Seconds by kind of work. `finish` returns when a device has done all that it was given."""

    def __init__(self, finish=lambda: None):
        self.seconds, self.finish = {}, finish

    def time(self, kind, work, *args):
        self.finish()
        started = time.perf_counter()
        result = work(*args)
        self.finish()
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - started
        return result


class Cycle:
    """The cycles of one task. `inner_step` and `outer_step` are given what to do between clipping and the update."""

    def __init__(self, named, method, watch):
        decays = method["importanceDecay"], method["uncertaintyDecay"]
        self.named, self.method, self.watch = named, method, watch
        self.importance_in, self.importance_out = Importance(named, *decays), Importance(named, *decays)

    def run(self, inner_step, outer_step):
        own, named = lambda *work: self.watch.time("method", *work), self.named
        start = own(snapshot, named)
        own(self.importance_in.reset)
        for _ in range(self.method["innerSteps"]):
            inner_step(lambda: own(self.importance_in.update))
        tau_in = own(difference, named, start)
        own(restore, named, start)
        for _ in range(self.method["outerSteps"]):
            outer_step(lambda: own(self.importance_out.update))
        tau_out = own(difference, named, start)
        scores_in, scores_out = own(self.importance_in.scores), own(self.importance_out.scores)
        own(fuse, named, start, tau_in, tau_out, scores_in, scores_out, 1 - self.method["keepFraction"])
