"""The one measurement: what models make of sections of images, from the store, from features, or from the tower.

An answer about a subset is part of every larger one: it is cut out of a larger answer that is kept, a smaller one is
completed by the images that it lacks, and what kept features determine is computed from them. Only what is left is
encoded, once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.divergences import kl_divergence
from ri_analysis.encoder import Encoder, Head
from ri_analysis.engine.models import PRETRAINED, Model, expert_model, pretrained_model
from ri_analysis.engine.outcomes import Indices, Outcome, Outcomes, Section
from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.store import Record, Store
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.measures.distances import Outputs
from ri_analysis.memory import Recent
from ri_analysis.progress import Counter, Progress
from ri_analysis.suite import ImageSet, Suite, stratified
from ri_analysis.turns import alone

VERSION = "2"  # raise when a measurement changes its meaning, so that kept answers are not mistaken for new ones
RECENT = 256 << 20  # bytes of outcomes and of reference logits held in memory, each

ImagesDigest = str


@dataclass(frozen=True)
class Request:
    """A model to be measured on sections, on subsets of at most `limit` images each.

    `features` asks for its features as well: whatever is asked of the same images later follows from them. With
    `keep_features` that is so where the model has to be encoded anyway.
    """

    model: Model
    sections: Sequence[Section]
    limit: int | None = None
    features: bool = False
    keep_features: bool = False


@dataclass
class _Need:
    """How many images of a set a model has to encode for some requests."""

    images: ImageSet
    count: int = 0
    known: int = 0  # that outcomes hold; features count too
    features: bool = False


@dataclass
class Measurement:
    """Measures models of one suite with one tower in one number format."""

    suite: Suite
    store: Store
    encoder: Encoder
    heads: Mapping[str, Head]
    _outcomes: Recent[tuple[str, str, int], Outcome] = field(default_factory=lambda: Recent(RECENT))
    _references: Recent[tuple[str, int], torch.Tensor] = field(default_factory=lambda: Recent(RECENT))

    def __post_init__(self) -> None:
        # Caches of this object alone: class-wide ones would keep every suite alive.
        self._section_digest = lru_cache(maxsize=1024)(self._name_section)
        self._rows = lru_cache(maxsize=256)(_subset)

    # --- what is asked ------------------------------------------------------------------------------------

    def outcomes(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Outcomes]:
        """Measure; each model's answers are kept as soon as they are known. `progress` counts images to encode.

        Raises NotFinite for a model whose outputs are NaN, infinite or zero, and what `progress` raises.
        """
        counter = self._begin(requests, progress)
        return [self._answer(request, counter) for request in requests]

    def features(self, requests: Sequence[Request], progress: Progress | None = None) -> list[dict[str, torch.Tensor]]:
        """Return each model's features by section: (n, embed_dim), unit rows of the section's subset; they are kept."""
        requests = [replace(request, features=True) for request in requests]
        counter = self._begin(requests, progress)
        found = [self._features(item.model, _unique(item.sections), item.limit, counter) for item in requests]
        return [
            {section.name: each[section.images.digest] for section in item.sections}
            for item, each in zip(requests, found, strict=True)
        ]

    def _begin(self, requests: Sequence[Request], progress: Progress | None) -> Counter:
        counter = Counter(progress, self.cost(requests) if progress is not None else 0)
        for request in requests:
            if self.cost([request], references=False):
                request.model.prepare(counter.first())
        return counter

    def outputs(self, requests: Sequence[Request], progress: Progress | None = None) -> list[dict[str, Outputs]]:
        """Return each model's features and logits by section."""
        found = self.features(requests, progress)
        return [
            {section.name: self._outputs(section, each[section.name]) for section in item.sections}
            for item, each in zip(requests, found, strict=True)
        ]

    def _outputs(self, section: Section, features: torch.Tensor) -> Outputs:
        return Outputs(features, self.logits(section, features))

    def cost(self, requests: Iterable[Request], *, references: bool = True) -> int:
        """Return how many images have to be encoded for some requests, by the `references` too."""
        needs: dict[tuple[str, ImagesDigest], _Need] = {}

        def need(model: Model, section: Section, limit: int | None) -> _Need:
            found = needs.setdefault((model.digest, section.images.digest), _Need(section.images))
            found.count = max(found.count, section.count(limit))
            return found

        for request in requests:
            for section in request.sections:
                known, complete = self._outcome_known(request.model, section, request.limit)
                features = request.features or (request.keep_features and not complete)
                if features:
                    need(request.model, section, request.limit).features = True
                if complete:
                    continue
                if not features:
                    entry = need(request.model, section, request.limit)
                    entry.known = min(entry.known, known) if entry.known else known
                if references and section.reference is not None:
                    need(self.reference(section.reference), section, request.limit).features = True
        return sum(self._to_encode(model, entry) for (model, _), entry in needs.items())

    def kept(self, request: Request) -> Outcomes | None:
        """Return the answer to a request where all of it is kept, else None."""
        found = {}
        for section in request.sections:
            outcome = self._kept_outcome(request.model, section, request.limit)
            if outcome is None:
                return None
            found[section.name] = outcome
        return Outcomes(found)

    def keep(self, request: Request, outcomes: Outcomes, seconds: float) -> None:
        """Keep what another process measured."""
        for section in request.sections:
            self._put(request.model, section, outcomes[section.name], seconds)

    def outcome_of(self, section: Section, features: torch.Tensor, limit: int | None) -> Outcome:
        """Return what `features` (n, embed_dim), unit rows, of a section's subset come to; nothing is kept."""
        reference = None if section.reference is None else self.reference_logits(section, limit)
        return self._outcome(section, self._rows(section.images, section.count(limit)), features, limit, reference)

    def reference(self, name: str) -> Model:
        """Return the model that a section's answers are held against."""
        return pretrained_model(self.suite) if name == PRETRAINED else expert_model(self.suite, name)

    def logits(self, section: Section, features: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, classes) of features (n, embed_dim) through a section's heads."""
        return torch.cat([self.heads[task].logits(features) for task in section.tasks], dim=1)

    def reference_logits(self, section: Section, limit: int | None, counter: Counter | None = None) -> torch.Tensor:
        """Return the logits of a section's reference on a subset of it."""
        assert section.reference is not None  # asked only where there is one
        model, count = self.reference(section.reference), section.count(limit)
        key = (digest(model.digest, self._section_digest(section)), count)
        found = self._references.get(key)
        if found is None:
            features = self._features(model, {section.images.digest: section.images}, limit, counter)
            found = self.logits(section, features[section.images.digest])
            self._references.put(key, found, found.nbytes)
        return found

    # --- outcomes -----------------------------------------------------------------------------------------

    def _answer(self, request: Request, counter: Counter) -> Outcomes:
        found = {
            section.name: self._kept_outcome(request.model, section, request.limit) for section in request.sections
        }
        missing = [section for section in request.sections if found[section.name] is None]
        if request.features or (request.keep_features and missing):
            wanted = request.sections if request.features else missing
            self._features(request.model, _unique(wanted), request.limit, counter)
        references = {
            section.name: self.reference_logits(section, request.limit, counter)
            for section in missing
            if section.reference is not None
        }
        if missing:
            with self._alone(request.model, counter):
                found |= self._judge(request, missing, references, counter)
        return Outcomes({name: outcome for name, outcome in found.items() if outcome is not None})

    def _alone(self, model: Model, counter: Counter | None) -> AbstractContextManager[None]:
        """Have other sessions that measure the same model here wait: they then find what is kept."""
        return alone((self.store.workspace, model.digest), (counter or Counter(None, 0)).alive)

    def _judge(
        self, request: Request, missing: Sequence[Section], references: Mapping[str, torch.Tensor], counter: Counter
    ) -> dict[str, Outcome | None]:
        """Measure a model on the images of some sections that no kept outcome holds."""
        model, limit, started = request.model, request.limit, time.perf_counter()
        found = {section.name: self._kept_outcome(model, section, limit) for section in missing}  # kept meanwhile
        sections = [section for section in missing if found[section.name] is None]
        smaller = {section: self._smaller(model, section, limit) for section in sections}
        wanted: dict[ImagesDigest, tuple[ImageSet, Indices]] = {}
        for section, part in smaller.items():
            rows = self._rows(section.images, section.count(limit))
            lacking = rows if part is None else np.setdiff1d(rows, part.rows, assume_unique=True)
            seen = wanted.get(section.images.digest, (section.images, lacking))[1]
            wanted[section.images.digest] = (section.images, np.union1d(seen, lacking))
        features = self._encode(model, wanted, limit, counter)
        for section, part in smaller.items():
            rows = wanted[section.images.digest][1]
            outcome = self._outcome(section, rows, features[section.images.digest], limit, references.get(section.name))
            whole = outcome if part is None else _joined(part, outcome)
            found[section.name] = whole
            self._put(model, section, whole, time.perf_counter() - started)
        return found

    def _outcome(
        self,
        section: Section,
        rows: Indices,
        features: torch.Tensor,
        limit: int | None,
        reference: torch.Tensor | None,
    ) -> Outcome:
        logits = self.logits(section, features)
        divergence = None
        if reference is not None:
            places = torch.from_numpy(np.searchsorted(self._rows(section.images, section.count(limit)), rows))
            divergence = kl_divergence(reference[places], logits).clamp(min=0).numpy()
        labels = None if section.targets is None else section.targets[rows]
        return Outcome(rows, logits.argmax(dim=1).to(torch.int32).numpy(), labels, divergence)

    # --- features -----------------------------------------------------------------------------------------

    def _features(
        self, model: Model, sets: Mapping[ImagesDigest, ImageSet], limit: int | None, counter: Counter | None
    ) -> dict[ImagesDigest, torch.Tensor]:
        """Return features of subsets of some sets of images, and keep them."""
        wanted = {name: (images, self._rows(images, _count(images, limit))) for name, images in sets.items()}
        with self._alone(model, counter):
            found = self._encode(model, wanted, limit, counter or Counter(None, 0))
            for name, (images, rows) in wanted.items():
                key = self._name("features", model.digest, images.digest)
                if self.store.features_count(key, len(rows)) < len(rows):
                    self.store.put_features(key, found[name].numpy())
        return found

    def _encode(
        self,
        model: Model,
        wanted: Mapping[ImagesDigest, tuple[ImageSet, Indices]],
        limit: int | None,
        counter: Counter,
    ) -> dict[ImagesDigest, torch.Tensor]:
        """Return features of the images wanted of each set; what is kept of its subset is not encoded again."""
        found: dict[ImagesDigest, torch.Tensor] = {}
        lacking: dict[ImagesDigest, Indices] = {}
        for name, (images, rows) in wanted.items():
            known, features = self._kept_features(model, images, _count(images, limit))
            inside = np.isin(rows, known, assume_unique=True)
            found[name] = torch.empty(len(rows), self._width)
            found[name][torch.from_numpy(inside)] = features[torch.from_numpy(np.isin(known, rows, assume_unique=True))]
            if not inside.all():
                lacking[name] = np.flatnonzero(~inside)
        if lacking:
            sets = [(wanted[name][0], wanted[name][1][places]) for name, places in lacking.items()]
            made = self.encoder.features_of_many(
                model.weights(counter.alive), sets, source=model.name, progress=counter.within
            )
            for (name, places), features in zip(lacking.items(), made, strict=True):
                found[name][torch.from_numpy(places)] = features
            counter.advance(sum(map(len, lacking.values())))
        return found

    @property
    def _width(self) -> int:
        return next(iter(self.heads.values())).weight.shape[1]

    def _kept_features(self, model: Model, images: ImageSet, count: int) -> tuple[Indices, torch.Tensor]:
        """Return the rows of a set whose features are kept, and these: the smallest subset that is large enough."""
        kept = self.store.features(self._name("features", model.digest, images.digest), count)
        if kept is None:
            return np.zeros(0, np.int64), torch.empty(0, self._width)
        return self._rows(images, len(kept)), torch.from_numpy(kept)

    # --- the store ----------------------------------------------------------------------------------------

    def _to_encode(self, model: str, need: _Need) -> int:
        known = self.store.features_count(self._name("features", model, need.images.digest), need.count)
        return max(0, need.count - max(known, 0 if need.features else need.known))

    def _outcome_known(self, model: Model, section: Section, limit: int | None) -> tuple[int, bool]:
        """Return how many images of a subset a kept outcome holds, and whether that is all of them."""
        if self._kept_outcome(model, section, limit) is not None:
            return section.count(limit), True
        part = self._smaller(model, section, limit)
        return (0 if part is None else len(part.rows)), False

    def _kept_outcome(self, model: Model, section: Section, limit: int | None) -> Outcome | None:
        """Return the outcome on a subset from memory, or from the store, where a larger one serves as well."""
        count = section.count(limit)
        key = (model.digest, self._section_digest(section), count)
        held = self._outcomes.get(key)
        if held is None:
            found = self.store.nested(self.name(model, "outcome", section), count)
            if found is None or found[0] < count:
                return None
            held = self._read(model, section, *found)
            if found[0] > count:
                held = _cut(held, self._rows(section.images, count))
            for values in (held.predicted, held.divergence):
                if values is not None:
                    values.setflags(write=False)  # who asks next must find the same
            self._outcomes.put(key, held, held.predicted.nbytes * 8)
        return held

    def _smaller(self, model: Model, section: Section, limit: int | None) -> Outcome | None:
        """Return the largest kept outcome on fewer images than asked for."""
        found = self.store.nested(self.name(model, "outcome", section), section.count(limit))
        return None if found is None or found[0] >= section.count(limit) else self._read(model, section, *found)

    def _read(self, model: Model, section: Section, count: int, arrays: Arrays) -> Outcome:
        rows = self._rows(section.images, count)
        labels = None if section.targets is None else section.targets[rows]
        if not self._fits(section, rows, arrays):
            source = self.store.source(self.name(model, "outcome", section), count)
            raise InputError(f"{source}: expected what a model makes of {len(rows):,} images, found another answer")
        divergence = arrays["divergence"].astype(np.float32) if section.reference is not None else None
        return Outcome(rows, arrays["predicted"].astype(np.int32), labels, divergence)

    def _fits(self, section: Section, rows: Indices, arrays: Arrays) -> bool:
        """Whether arrays that somebody may have made up are of the images at `rows` and the section's classes."""
        numbers = {"predicted": "iu", "divergence": "f"} if section.reference is not None else {"predicted": "iu"}
        for name, kinds in numbers.items():
            if name not in arrays or arrays[name].dtype.kind not in kinds or arrays[name].shape != rows.shape:
                return False
        classes = sum(len(self.heads[task].weight) for task in section.tasks)
        return not len(rows) or (arrays["predicted"].min() >= 0 and arrays["predicted"].max() < classes)

    def _put(self, model: Model, section: Section, outcome: Outcome, seconds: float) -> None:
        arrays: Arrays = {"predicted": outcome.predicted}
        if outcome.divergence is not None:
            arrays["divergence"] = outcome.divergence
        record = Record.of({"suite": self.suite.name, "model": model.name, "section": section.name}, seconds)
        self.store.put_nested(self.name(model, "outcome", section), len(outcome.rows), arrays, record)

    def name(self, model: Model, kind: str, section: Section) -> str:
        """Return the name of an answer about a model on a section: it changes with all that the answer depends on."""
        return self._name(kind, model.digest, self._section_digest(section))

    def images_name(self, section: Section, limit: int | None) -> str:
        """Return the name of a subset of a section as results depend on it: images, labels, heads with their classes,
        the reference, and what the tower computes."""
        classes = [list(self.heads[task].classes) for task in section.tasks]
        about = json.dumps([section.name, classes, section.count(limit)])
        return digest(self._name("images", "", self._section_digest(section)), about)

    def shipped(self, requests: Iterable[Request]) -> bool:
        """Whether some of what answers requests came with the suite."""
        return any(
            self.store.is_shipped(self.name(request.model, "outcome", section), section.count(request.limit))
            for request in requests
            for section in request.sections
        )

    def features_name(self, model: Model, section: Section, limit: int | None) -> str:
        """Return the name of a model's features on a subset of a section."""
        return digest(self._name("features", model.digest, section.images.digest), str(section.count(limit)))

    def _name(self, kind: str, model: str, images: str) -> str:
        return digest(VERSION, kind, self._tower, model, images)

    @cached_property
    def _tower(self) -> str:
        return digest(self.encoder.architecture.fingerprint, str(self.encoder.dtype))

    def _name_section(self, section: Section) -> str:
        heads = (self.heads[task].weight.numpy().tobytes() for task in section.tasks)
        reference = "" if section.reference is None else self.reference(section.reference).digest
        return digest(section.images.digest, str(section.first), reference, *heads)


def _unique(sections: Iterable[Section]) -> dict[ImagesDigest, ImageSet]:
    return {section.images.digest: section.images for section in sections}


def _count(images: ImageSet, limit: int | None) -> int:
    return len(images) if limit is None else min(limit, len(images))


def _subset(images: ImageSet, count: int) -> Indices:
    return stratified(images.labels, len(images), count)


def _cut(outcome: Outcome, rows: Indices) -> Outcome:
    places = np.searchsorted(outcome.rows, rows)
    labels, divergence = outcome.labels, outcome.divergence
    return Outcome(
        rows,
        outcome.predicted[places],
        None if labels is None else labels[places],
        None if divergence is None else divergence[places],
    )


def _joined(one: Outcome, other: Outcome) -> Outcome:
    rows = np.concatenate([one.rows, other.rows])
    rows, places = np.unique(rows, return_index=True)

    def both(
        first: npt.NDArray[np.generic] | None, second: npt.NDArray[np.generic] | None
    ) -> npt.NDArray[np.generic] | None:
        return None if first is None or second is None else np.concatenate([first, second])[places]

    predicted = both(one.predicted, other.predicted)
    return Outcome(rows, predicted, both(one.labels, other.labels), both(one.divergence, other.divergence))  # type: ignore[arg-type]
