"""What the kernel does with the tool calls in a model's reply."""

from __future__ import annotations

from kernel.replies import calls, says, tool_call
from kernel.scene import Scene

DOUBLE = "double(n int) returns int language sql return n * 2"


def test_a_result_goes_back_to_the_model_and_into_the_rows(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.says(calls(tool_call("double", {"n": 21}, "call_first_one")), says("It is 42."))
    assert scene.ask("twice 21?") == "It is 42."
    assert scene.shape() == ["model completed", "tool completed", "model completed"]
    assert scene.tool_results() == ["42"]
    step = scene.steps()[1]
    assert (step["tool_name"], step["arguments"], step["call_id"], step["model_step_no"]) == (
        "double",
        {"n": 21},
        "call_first_one",
        1,
    )


def test_parallel_calls_run_in_the_order_of_the_reply(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.skill("shout(word text) returns text language sql return upper(word)")
    scene.says(
        calls(
            tool_call("double", {"n": 1}),
            tool_call("shout", {"word": "hi"}),
            tool_call("double", {"n": 3}),
        ),
        says("done"),
    )
    assert scene.ask() == "done"
    assert scene.tool_results() == ["2", "HI", "6"]
    assert scene.shape() == ["model completed", *["tool completed"] * 3, "model completed"]
    assert [step["model_step_no"] for step in scene.steps()] == [None, 1, 1, 1, None]


def test_several_model_calls_build_on_each_other(scene: Scene) -> None:
    scene.skill(DOUBLE)
    for n in (1, 2, 4):
        scene.says(calls(tool_call("double", {"n": n})))
    scene.says(says("8"))
    assert scene.ask() == "8"
    assert scene.tool_results() == ["2", "4", "8"]
    assert [len(body["messages"]) for body in scene.play.bodies()] == [2, 4, 6, 8]


def test_arguments_that_do_not_fit_go_back_to_the_model(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.says(
        calls(tool_call("double", {"n": "many"})),
        calls(tool_call("double", {"m": 1})),
        calls(tool_call("double", {"n": 5})),
        says("10"),
    )
    assert scene.ask() == "10"
    wrong, missing, right = scene.tool_results()
    assert "n must be integer" in wrong
    assert "must contain ['n']" in missing
    assert right == "10"
    steps = [step for step in scene.steps() if step["kind"] == "tool"]
    assert [step["status"] for step in steps] == ["failed", "failed", "completed"]
    assert steps[0]["error"]["message"] == wrong
    assert steps[0]["message"]["is_error"] is True


def test_a_tool_that_was_not_offered_is_refused_in_words(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.says(calls(tool_call("drop_everything", {"now": True})), says("sorry"))
    assert scene.ask() == "sorry"
    assert scene.tool_results() == [
        "There is no tool drop_everything. Use only the tools that are offered."
    ]
    assert scene.shape() == ["model completed", "tool failed", "model completed"]


def test_a_denied_tool_is_neither_offered_nor_run(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.skill(
        "wipe() returns void language plpgsql as 'begin raise exception ''wiped''; end'",
        approval="never",
    )
    scene.says(calls(tool_call("wipe", {})), says("I may not."))
    assert scene.ask() == "I may not."
    assert [t["function"]["name"] for t in scene.play.bodies()[0]["tools"]] == ["double"]
    assert scene.tool_results() == ["The tool wipe may not be used here."]
    assert scene.shape() == ["model completed", "tool rejected", "model completed"]


def test_arguments_that_are_not_json_are_kept_and_answered(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.says(
        calls(tool_call("double", '{"n": 2]')),
        calls(tool_call("double", "[1, 2]")),
        calls(tool_call("double", "")),
        says("enough"),
    )
    assert scene.ask() == "enough"
    not_json, not_an_object, empty = scene.tool_results()
    assert not_json == not_an_object == "The arguments must be one JSON object."
    assert "must contain ['n']" in empty
    steps = [step for step in scene.steps() if step["kind"] == "tool"]
    assert [step["arguments"] for step in steps] == ['{"n": 2]', "[1, 2]", {}]


def test_calls_of_a_reply_that_was_cut_off_are_never_run(scene: Scene) -> None:
    scene.connection.execute("create table if not exists public.cut_off (n int)")
    scene.connection.execute("grant insert on public.cut_off to pgagentos_agent")
    scene.skill(
        "write(n int) returns int language sql begin atomic"
        " insert into public.cut_off values (n) returning 1; end"
    )
    scene.says(
        calls(tool_call("write", {"n": 1}), tool_call("write", '{"n": 12'), finish="length"),
        says("shorter"),
    )
    assert scene.ask() == "shorter"
    assert scene.value("select count(*) from public.cut_off") == 0
    assert all("cut off" in result for result in scene.tool_results())
    assert scene.shape() == ["model completed", "tool failed", "tool failed", "model completed"]
    assert scene.steps()[0]["error"]["kind"] == "length"


def test_call_ids_that_come_twice_get_ids_of_their_own(scene: Scene) -> None:
    scene.skill(DOUBLE)
    same = "call_always_the_same"
    scene.says(
        calls(tool_call("double", {"n": 1}, same), tool_call("double", {"n": 2}, same)),
        calls(tool_call("double", {"n": 3}, same)),
        says("done"),
    )
    assert scene.ask() == "done"
    assert scene.tool_results() == ["2", "4", "6"]
    ids = [step["call_id"] for step in scene.steps() if step["kind"] == "tool"]
    assert len(set(ids)) == 3
    asked = [
        call["id"]
        for message in scene.play.bodies()[-1]["messages"]
        for call in message.get("tool_calls") or ()
    ]
    assert asked == ids


def test_a_very_long_result_is_cut_before_the_model_reads_it(scene: Scene) -> None:
    scene.skill("long(n int) returns text language sql return repeat('가', n)")
    scene.says(calls(tool_call("long", {"n": 150_000})), says("long"))
    assert scene.ask() == "long"
    (result,) = scene.tool_results()
    assert result == "가" * 100_000 + "\n[50000 more characters left out]"


def test_results_of_every_type_reach_the_model_readably(scene: Scene) -> None:
    scene.skill("nothing() returns text language sql return null")
    scene.skill(
        "pairs() returns table (a int, b text) language sql as $$values (1, 'x'), (2, null)$$"
    )
    scene.skill("document() returns jsonb language sql return jsonb_build_object('k', 1)")
    scene.skill("many() returns setof int language sql as $$select generate_series(1, 200)$$")
    scene.says(
        calls(*(tool_call(name) for name in ("nothing", "pairs", "document", "many"))),
        says("read"),
    )
    assert scene.ask() == "read"
    nothing, pairs, document, many = scene.tool_results()
    assert nothing == "null"
    assert "".join(pairs.split()) == '[{"a":1,"b":"x"},{"a":2,"b":null}]'
    assert document == '{"k": 1}'
    assert "only the first 101 are shown" in many


def test_a_failing_function_is_told_to_the_model_with_its_sqlstate(scene: Scene) -> None:
    scene.skill("divide(a int, b int) returns int language sql return a / b")
    scene.says(calls(tool_call("divide", {"a": 1, "b": 0})), says("I cannot divide by zero."))
    assert scene.ask() == "I cannot divide by zero."
    assert scene.tool_results() == ["22012: division by zero"]
    assert scene.shape() == ["model completed", "tool failed", "model completed"]


def test_context_arguments_are_filled_in_and_hidden_from_the_model(scene: Scene) -> None:
    scene.skill(
        "whoami(context_tenant_id uuid, context_conversation_id uuid, context_turn_id uuid)"
        " returns text language sql"
        " return concat_ws(' ', context_tenant_id, context_conversation_id, context_turn_id)"
    )
    scene.says(calls(tool_call("whoami")), says("me"))
    assert scene.ask() == "me"
    run = scene.run()
    assert scene.tool_results() == [f"{scene.tenant_id} {run['conversation_id']} {run['run_id']}"]
    assert scene.play.bodies()[0]["tools"][0]["function"]["parameters"]["properties"] == {}


def test_nul_and_lone_surrogates_in_arguments_do_not_stop_the_turn(scene: Scene) -> None:
    scene.skill("echo(word text) returns text language sql return word")
    scene.says(
        calls(tool_call("echo", '{"word": "a\\u0000b\\ud800c한"}')),
        calls(tool_call("echo", '{"word": "d\x00e"}')),
        says("done"),
    )
    assert scene.ask() == "done"
    escaped, raw = scene.tool_results()
    assert escaped == "a\ufffdb\ufffdc한"
    assert raw == "d\ufffde"


def test_json_that_only_python_accepts_is_not_json(scene: Scene) -> None:
    scene.skill(DOUBLE)
    deep = '{"n":' + "[" * 50_000 + "]" * 50_000 + "}"
    scene.says(
        calls(tool_call("double", '{"n": NaN}'), tool_call("double", deep)),
        says("done"),
    )
    assert scene.ask() == "done"
    assert scene.tool_results() == ["The arguments must be one JSON object."] * 2


def test_a_number_that_no_type_holds_is_an_error_of_the_call_alone(scene: Scene) -> None:
    scene.skill("half(n double precision) returns double precision language sql return n / 2")
    scene.says(
        calls(tool_call("half", '{"n": 1e400}'), tool_call("half", '{"n": 1e200000}')), says("done")
    )
    assert scene.ask() == "done"
    assert all(result.startswith("22003: ") for result in scene.tool_results())


def test_a_skill_that_runs_a_turn_of_its_own_may_fail_at_both_depths(scene: Scene) -> None:
    scene.let_tools_ask()
    scene.skill(
        "nest(depth int) returns int language plpgsql as $$ begin"
        f" if depth = 1 then perform aos_agent.ask('{scene.name}', 'inner'); end if;"
        " raise 'failed at depth %', depth; end $$"
    )
    scene.says(calls(tool_call("nest", {"depth": 1})))  # the outer turn
    scene.says(calls(tool_call("nest", {"depth": 0})), says("inner answer"))  # the inner turn
    scene.says(says("outer answer"))
    assert scene.ask() == "outer answer"
    results = scene.play.bodies()[-1]["messages"]
    assert "failed at depth 1" in results[-1]["content"]


def test_a_result_that_text_cannot_hold_is_cleaned(scene: Scene) -> None:
    scene.skill("""odd() returns json language sql return '"a\\u0000b\\ud800c"'::json""")
    scene.says(calls(tool_call("odd")), says("well"))
    assert scene.ask() == "well"
    assert scene.tool_results() == ["a\ufffdb\ufffdc"]


def test_a_skill_with_a_broken_schema_fails_as_a_call_not_as_a_turn(scene: Scene) -> None:
    scene.skill(DOUBLE)
    scene.connection.execute(
        """update aos_skills.skill set parameters = '{"type": "object", "required": 1}'
           where name = 'double'"""
    )
    scene.says(calls(tool_call("double", {"n": 21})), says("It is out of order."))
    assert scene.ask() == "It is out of order."
    assert scene.tool_results()[0].startswith("The tool double cannot be used: ")
    assert scene.shape() == ["model completed", "tool failed", "model completed"]


def test_without_the_setting_a_turn_has_ten_model_calls(scene: Scene) -> None:
    scene.skill(DOUBLE)
    with scene.connection.transaction(force_rollback=True):
        scene.connection.execute("delete from aos_meta.setting where name = 'max_model_calls'")
        scene.says(*(calls(tool_call("double", {"n": n})) for n in range(9)), says("ten"))
        assert scene.ask() == "ten"
