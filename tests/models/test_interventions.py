"""Interventions against weights that were edited, and against forward passes written out."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from written_out import Change, written_out

import scepsis as sps
from scepsis.models import Intervention, Seams, Tokens
from scepsis.models._intervene import active_interventions
from scepsis.models._proof import prove
from scepsis.models._reference import Carried, portable
from scepsis.models._reference import Reference as PortableReference

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis.models import AttentionModel, Batch

#: Families are `any_family`'s: two heads and three layers are what all of them have.
HEADS = [(0, 1), (2, 0)]
KINDS: dict[str, Callable[[], Intervention]] = {
    "zero heads": lambda: Intervention.zero_heads(HEADS),
    "uniform heads": lambda: Intervention.uniform_heads(HEADS),
    "zero MLPs": lambda: Intervention.zero_mlps([0, 2]),
    "zero attention": lambda: Intervention.zero_attention([1]),
}
UNION = (
    Intervention.zero_heads([(0, 1)])
    | Intervention.uniform_heads([(0, 0), (2, 1)])
    | Intervention.zero_mlps([1])
    | Intervention.zero_attention([1])
)


def make_batch(model: AttentionModel, *sizes: int, seed: int = 0) -> Batch:
    """Cells of random genes and values, padded."""
    rng = np.random.default_rng(seed)
    ids = np.array(list(model.vocabulary.tokens.values()), dtype=np.int32)
    cells = [Tokens(rng.permutation(ids)[:n], rng.integers(1, 9, n).astype(np.float32)) for n in sizes]
    return model.batch(cells, [np.arange(n) for n in sizes])


def run(model: AttentionModel, batch: Batch, *interventions: Intervention) -> list[torch.Tensor]:
    """Hidden states of every cell, padding left out."""
    with ExitStack() as stack:
        for one in interventions:
            stack.enter_context(model.intervene(one))
        hidden = model.forward(batch)
    return [cell[:n] for cell, n in zip(hidden, batch.n_tokens, strict=True)]


def edit(model: AttentionModel, chosen: Intervention, means: dict[tuple[int, int], torch.Tensor] | None = None) -> None:
    """Change weights so that the model is what an intervention makes of it."""
    with torch.no_grad():
        for layer in chosen.layers:
            seams = model.seams(layer)
            for at, head in chosen.heads:
                own = slice(head * model.head_size, (head + 1) * model.head_size)
                if at != layer:
                    continue
                if (at, head) in chosen.uniform:
                    for parameter in seams.query.parameters():
                        parameter[own] = 0
                    continue
                if (at, head) in chosen.averaged:
                    shift = seams.output.weight[:, own] @ means[at, head].to(seams.output.weight)
                    old = 0 if seams.output.bias is None else seams.output.bias
                    seams.output.bias = torch.nn.Parameter(old + shift)
                seams.output.weight[:, own] = 0
            for wanted, module in ((layer in chosen.mlps, seams.mlp), (layer in chosen.attention, seams.output)):
                for parameter in module.parameters() if wanted else ():
                    parameter.zero_()


def assert_close(left: list[torch.Tensor], right: list[torch.Tensor], atol: float = 1e-5) -> None:
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=atol, rtol=1e-5)


def differs(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return max(float((one - other).abs().max()) for one, other in zip(left, right, strict=True)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_an_intervention_does_what_edited_weights_do(any_family: AttentionModel, kind: str) -> None:
    batch, chosen = make_batch(any_family, 14, 7, 1), KINDS[kind]()
    before = run(any_family, batch)
    found = run(any_family, batch, chosen)
    assert all(torch.equal(one, other) for one, other in zip(before, run(any_family, batch), strict=True))
    edited = copy.deepcopy(any_family)
    edit(edited, chosen)
    assert_close(found, run(edited, batch))
    assert differs(found, before)


def test_a_union_is_the_forward_pass_written_out(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 9, 4, 1)
    assert_close(run(any_family, batch), written_out(any_family, batch)[0], atol=5e-5)
    change = Change(
        zero=frozenset(UNION.zeroed),
        uniform=frozenset(UNION.uniform),
        mlps=frozenset(UNION.mlps),
        attention=frozenset(UNION.attention),
    )
    found = run(any_family, batch, UNION)
    assert_close(found, written_out(any_family, batch, change)[0], atol=5e-5)
    assert differs(found, run(any_family, batch))


def test_mean_heads_give_the_mean_of_the_intact_model(any_family: AttentionModel) -> None:
    batch, reference = make_batch(any_family, 9, 4, 1), make_batch(any_family, 8, 3, seed=1)
    chosen = Intervention.mean_heads(HEADS, reference=reference) | Intervention.zero_heads([(0, 0)])
    contexts = written_out(any_family, reference)[1]
    d = any_family.head_size
    means = {
        (layer, head): torch.cat([cell[layer][:, head * d : (head + 1) * d] for cell in contexts]).mean(0)
        for layer, head in HEADS
    }
    found = run(any_family, batch, chosen)
    expected = written_out(any_family, batch, Change(zero=frozenset({(0, 0)}), fixed=means))[0]
    assert_close(found, expected, atol=5e-5)
    # A block around does not change what the mean is that of.
    nested = run(
        any_family, batch, Intervention.zero_heads([(0, 0)]), Intervention.mean_heads(HEADS, reference=reference)
    )
    assert_close(nested, found, atol=0)
    edited = copy.deepcopy(any_family)
    edit(edited, chosen, means)
    assert_close(found, run(edited, batch))


def test_nested_blocks_are_a_union(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 9, 4)
    parts = [Intervention.zero_heads([(0, 1)]), Intervention.uniform_heads([(2, 1)]), Intervention.zero_mlps([1])]
    whole = run(any_family, batch, parts[0] | parts[1] | parts[2])
    for order in (parts, parts[::-1]):
        assert all(torch.equal(one, other) for one, other in zip(run(any_family, batch, *order), whole, strict=True))
    with any_family.intervene(parts[0]):
        one = run(any_family, batch)
        assert differs(run(any_family, batch, parts[2]), one)
        assert all(map(torch.equal, run(any_family, batch), one))
        for again in (parts[0], Intervention.uniform_heads([(0, 1)]), Intervention.zero_attention([0])):
            with pytest.raises(ValueError, match="twice"), any_family.intervene(again):
                pass
        assert active_interventions(any_family) == (parts[0],)
    assert active_interventions(any_family) == ()


def hooks(model: AttentionModel) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.network.modules())


def test_nothing_is_left_after_an_exception(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 9, 4)
    before, identity = run(any_family, batch), (any_family.name, any_family.fingerprint)

    def fail() -> None:
        with any_family.intervene(UNION):
            assert (any_family.name, any_family.fingerprint) != identity
            any_family.forward(batch)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    # An exception while hooks are being set.
    broken = Intervention.mean_heads(
        [(1, 0)], reference=SimpleNamespace(ids=None, positions=None, values=None, n_tokens=[2])
    )
    with pytest.raises(AttributeError), any_family.intervene(broken):
        pass
    assert hooks(any_family) == 0
    assert (any_family.name, any_family.fingerprint) == identity
    assert all(map(torch.equal, run(any_family, batch), before))


def test_blocks_may_end_in_any_order(any_family: AttentionModel) -> None:
    """As those of generators do."""
    batch = make_batch(any_family, 9, 4)
    before, identity = run(any_family, batch), (any_family.name, any_family.fingerprint)
    with any_family.intervene(Intervention.zero_mlps([1])):
        alone = run(any_family, batch), any_family.name, any_family.fingerprint
    outer = any_family.intervene(Intervention.zero_heads([(0, 1)]))
    inner = any_family.intervene(Intervention.zero_mlps([1]))
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert (any_family.name, any_family.fingerprint) == alone[1:]
    assert all(map(torch.equal, run(any_family, batch), alone[0]))
    inner.__exit__(None, None, None)
    assert (any_family.name, any_family.fingerprint) == identity
    assert all(map(torch.equal, run(any_family, batch), before))


def test_threads_do_not_mix_their_interventions(small_model: AttentionModel) -> None:
    name = small_model.name

    def other() -> None:
        with small_model.intervene(Intervention.zero_mlps([1])):
            pass

    with ThreadPoolExecutor(1) as pool:
        with small_model.intervene(Intervention.zero_heads([(0, 1)])):
            inside = small_model.name
            with pytest.raises(RuntimeError, match="Another thread has"):
                pool.submit(other).result()
            assert small_model.name == inside
            assert len(active_interventions(small_model)) == 1
        pool.submit(other).result()
    assert (small_model.name, hooks(small_model)) == (name, 0)


def test_padding_changes_nothing(any_family: AttentionModel) -> None:
    together = run(any_family, make_batch(any_family, 12, 5), UNION)
    rng = np.random.default_rng(0)
    ids = np.array(list(any_family.vocabulary.tokens.values()), dtype=np.int32)
    for n, expected in zip((12, 5), together, strict=True):
        cell = Tokens(rng.permutation(ids)[:n], rng.integers(1, 9, n).astype(np.float32))
        assert_close(run(any_family, any_family.batch([cell], [np.arange(n)]), UNION), [expected])


def test_extraction_sees_the_intervention(small_model: AttentionModel, make_screen: Callable[..., Any]) -> None:
    """Attention read in a block is that of the model with edited weights, at the layer itself and above."""
    chosen = Intervention.zero_heads([(0, 1)]) | Intervention.uniform_heads([(1, 2)]) | Intervention.zero_mlps([0])
    edited = copy.deepcopy(small_model)
    edit(edited, chosen)
    plain, within, expected = (make_screen(n_controls=20, n_perturbed=5) for _ in range(3))
    sps.tl.attention_edges(plain, small_model)
    sps.tl.attention_edges(expected, edited)
    with small_model.intervene(chosen):
        sps.tl.attention_edges(within, small_model)
        sps.tl.value_weighted_edges(within, small_model, layers=[0, 2])
    for layer in range(3):
        key = f"attention_L{layer}"
        np.testing.assert_allclose(within.varp[key], expected.varp[key], rtol=1e-4)
        same = np.array_equal(within.varp[key], plain.varp[key], equal_nan=True)
        assert same is (layer == 0), "what is done in a layer changes no attention before the layer above"
    params = within.uns["attention"]["params"]
    assert params["model"] == f"{small_model.name} ({chosen.label})"
    assert params["model_fingerprint"] not in {small_model.fingerprint, ""}
    # A head without a context has no direction.
    assert within.varp["value_weighted_L0"].nnz == 0
    assert np.isfinite(within.varp["value_weighted_L2"]).any()


def test_a_checkpoint_file_of_the_intact_model_is_refused(
    small_model: AttentionModel, make_screen: Callable[..., Any], tmp_path: Any
) -> None:
    adata = make_screen(n_controls=20, n_perturbed=5)
    sps.tl.attention_edges(adata, small_model, checkpoint=tmp_path / "sums")
    with small_model.intervene(UNION), pytest.raises(ValueError, match="another run"):
        sps.tl.attention_edges(adata, small_model, checkpoint=tmp_path / "sums")


def test_a_model_keeps_its_interventions_on_the_way_to_another_process(any_family: AttentionModel) -> None:
    if any_family.family == "set_transformer":
        pytest.skip("classes that a page defines cannot be pickled")
    batch = make_batch(any_family, 9, 4)
    assert isinstance(portable(any_family), PortableReference)
    with any_family.intervene(UNION):
        assert isinstance(portable(any_family), Carried), "not loaded anew, as it was"
        here, sent = run(any_family, batch), pickle.loads(pickle.dumps(any_family))
    assert all(map(torch.equal, run(sent, batch), here))
    assert differs(run(any_family, batch), here)


def test_a_copy_made_inside_is_refused(small_model: AttentionModel) -> None:
    with small_model.intervene(UNION), pytest.raises(ValueError, match="outside the block"):
        sps.models.randomize(small_model)


@pytest.mark.parametrize(
    ("chosen", "error", "match"),
    [
        (Intervention.zero_heads([(3, 0)]), ValueError, r"no layer 3; it has layers 0 to 2"),
        (Intervention.zero_mlps([0, 7]), ValueError, r"no layer 7"),
        (Intervention.uniform_heads([(1, 4)]), ValueError, r"no head \(1, 4\).* heads 0 to 3"),
    ],
)
def test_what_a_model_lacks_is_named(
    small_model: AttentionModel, chosen: Intervention, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match), small_model.intervene(chosen):
        pass
    assert hooks(small_model) == 0


def test_what_makes_no_intervention() -> None:
    with pytest.raises(ValueError, match=r"head \(1, 2\) twice"):
        Intervention.zero_heads([(1, 2), (0, 0), (1, 2)])
    with pytest.raises(ValueError, match=r"head \(1, 2\) twice"):
        Intervention.zero_heads([(1, 2)]) | Intervention.uniform_heads([(1, 2)])
    with pytest.raises(ValueError, match="its whole attention block"):
        Intervention.zero_heads([(1, 2)]) | Intervention.zero_attention([1])
    with pytest.raises(ValueError, match="MLP 3 twice"):
        Intervention.zero_mlps([3, 3])
    with pytest.raises(ValueError, match="names none"):
        Intervention.zero_heads([])
    with pytest.raises(ValueError, match="counted from 0 up, not -1"):
        Intervention.zero_heads([(0, -1)])
    for heads in ([3], [(0, 1, 2)], [(0.5, 1)], [("0", "1")], [(True, 1)], "L0H1", None):
        with pytest.raises(TypeError, match=r"\(layer, head\) pairs"):
            Intervention.uniform_heads(heads)  # type: ignore[arg-type]
    for layers in ([1.5], "3", [True], None):
        with pytest.raises(TypeError, match="`layers` takes whole numbers"):
            Intervention.zero_mlps(layers)  # type: ignore[arg-type]
    for reference in (None, np.zeros(3)):
        with pytest.raises(TypeError, match="a batch of the model"):
            Intervention.mean_heads([(0, 1)], reference=reference)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unsupported operand"):
        Intervention.zero_mlps([1]) | 3  # type: ignore[operator]
    with pytest.raises(ValueError, match="`mean_heads`"):
        Intervention(averaged=((0, 0),))


def test_what_is_no_intervention_is_named(small_model: AttentionModel) -> None:
    for given in ("top_5", [(0, 1)], None):
        with pytest.raises(TypeError, match=r"takes an `Intervention`, .*zero_heads"), small_model.intervene(given):  # type: ignore[arg-type]
            pass
    assert hooks(small_model) == 0


def test_an_intervention_is_a_value(small_model: AttentionModel) -> None:
    one = Intervention.zero_heads([(2, 1), (0, 3)]) | Intervention.zero_mlps([1])
    other = Intervention.zero_mlps(np.array([1])) | Intervention.zero_heads(np.array([[0, 3], [2, 1]]))
    assert one == other
    assert len({one, other}) == 1
    assert (one.heads, one.layers, one.lowest) == (((0, 3), (2, 1)), (0, 1, 2), 0)
    assert one.label == "zero heads L0H3, L2H1 + zero MLPs L1"
    with pytest.raises(AttributeError):
        one.mlps = ()  # type: ignore[misc]
    many = [
        Intervention.zero_heads([(layer, head) for layer in range(3) for head in some])
        for some in ((0, 1, 2), (1, 2, 3))
    ]
    assert many[0].label.startswith("zero 9 heads of L0 to L2 (")
    assert many[0].label != many[1].label
    here, there = (Intervention.mean_heads([(0, 0)], reference=make_batch(small_model, 5, seed=s)) for s in (0, 1))
    assert here == Intervention.mean_heads([(0, 0)], reference=make_batch(small_model, 5, seed=0))
    assert here != there
    with pytest.raises(ValueError, match="different references"):
        here | Intervention.mean_heads([(0, 1)], reference=there.reference.batch)


def test_total_is_all_heads(small_model: AttentionModel) -> None:
    heads = [(layer, head) for layer in range(2) for head in range(4)]
    assert (Intervention.zero_heads(heads) | Intervention.zero_attention([2])).is_total(small_model)
    assert not Intervention.zero_heads(heads).is_total(small_model)
    assert Intervention.zero_attention([0, 1, 2]).is_total(small_model)


def test_a_model_in_training_is_refused(any_family: AttentionModel) -> None:
    any_family.network.train()
    with pytest.raises(ValueError, match=r"training mode.*network\.eval"), any_family.intervene(UNION):
        pass


def test_a_family_that_hides_its_mlps(small_model: AttentionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    known = type(small_model).seams

    def seams(self: Any, layer: int) -> Seams:
        found = known(self, layer)
        return Seams(found.query, found.key, found.value, found.output, mlp=None)

    monkeypatch.setattr(type(small_model), "seams", seams)
    with pytest.raises(NotImplementedError, match="does not say where the MLP of layer 1"):
        Intervention.zero_mlps([1]).check(small_model)
    assert differs(
        run(small_model, make_batch(small_model, 5), Intervention.zero_heads(HEADS)),
        run(small_model, make_batch(small_model, 5)),
    )


class Pretender:
    """A family that names modules or heads which are not those that it computes with."""

    def __init__(self, model: Any, **lies: Any) -> None:
        self.model, self.lies = model, lies

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def seams(self, layer: int) -> Seams:
        found = self.model.seams(layer)
        told = self.lies.get("seams", lambda found, _: {})(found, layer)
        return Seams(
            **{name: told.get(name, getattr(found, name)) for name in ("query", "key", "value", "output", "mlp")}
        )

    def heads(self, *args: Any) -> Any:
        return self.lies.get("heads", lambda query, key: (query, key))(*self.model.heads(*args))


@pytest.mark.parametrize(
    ("lies", "match"),
    [
        ({"seams": lambda found, _: {"output": copy.deepcopy(found.output)}}, "`output` of layer 0 runs 0 times"),
        ({"seams": lambda found, _: {"mlp": torch.nn.Identity()}}, "`mlp` of layer 0 runs 0 times"),
        ({"seams": lambda found, _: {"value": found.key}}, "not where its seams say"),
        ({"heads": lambda query, key: (query.flip(1), key)}, "cannot be changed one by one"),
        ({"heads": lambda query, key: (query + 0.1, key)}, "cannot be changed one by one"),
        ({"heads": lambda query, key: (query, key.flip(1))}, "not where its seams say"),
    ],
)
def test_a_family_that_names_the_wrong_modules_is_found_out(any_family: AttentionModel, lies: Any, match: str) -> None:
    prove(any_family)
    with pytest.raises(RuntimeError, match=match):
        prove(Pretender(any_family, **lies))


def test_layers_that_share_a_module_cannot_be_told_apart(small_model: AttentionModel) -> None:
    shared = copy.deepcopy(small_model)
    shared.network.encoder.layer[2] = shared.network.encoder.layer[1]
    with pytest.raises(RuntimeError, match=r"layer 1 runs 2 times.*other layers share it"):
        shared.intervene(Intervention.zero_heads([(1, 0)])).__enter__()
    assert hooks(shared) == 0


def test_a_hook_that_never_runs_is_no_intervention(small_model: AttentionModel) -> None:
    """The network was proven, and then takes another way."""
    model = copy.deepcopy(small_model)
    batch = make_batch(model, 5)

    def swap() -> None:
        with model.intervene(Intervention.zero_mlps([0, 1])):
            block = model.network.encoder.layer[1].output
            block.dense = copy.deepcopy(small_model.network.encoder.layer[1].output.dense)
            model.forward(batch)

    with pytest.raises(RuntimeError, match=r"the MLP of layer 1: .*had no effect there"):
        swap()
    assert hooks(model) == 0
