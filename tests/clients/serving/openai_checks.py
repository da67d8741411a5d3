"""The openai package, under both prefixes."""

import openai


def checks(port, grpc_port):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1", api_key="none", max_retries=0)
    plain = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)

    def models():
        for each in (client, plain):
            names = [model.id for model in each.models.list()]
            assert names == ["letters", "vectors"], names
            assert each.models.retrieve("letters").object == "model"

    def completions():
        for each in (client, plain):
            answer = each.completions.create(model="letters", prompt="abc", max_tokens=5, temperature=0)
            assert answer.choices[0].text == "defgh" and answer.choices[0].finish_reason == "length", answer
            assert answer.usage.prompt_tokens == 3 and answer.usage.total_tokens == 8

    def completion_options():
        answer = client.completions.create(
            model="letters", prompt=["a", "k"], n=2, max_tokens=4, temperature=0, logprobs=2, echo=True, stop="n"
        )
        assert [choice.text for choice in answer.choices] == ["abcde", "abcde", "klm", "klm"], answer
        assert answer.choices[2].finish_reason == "stop"
        assert answer.choices[0].logprobs.tokens == ["a", "b", "c", "d", "e"]
        assert answer.choices[0].logprobs.token_logprobs[0] is None
        assert len(answer.choices[0].logprobs.top_logprobs[1]) == 2
        tokens = client.completions.create(model="letters", prompt=[97], max_tokens=1, temperature=0)
        assert tokens.choices[0].text == "b"

    def scoring():
        answer = client.completions.create(model="letters", prompt=["abc", "abx"], max_tokens=0, echo=True, logprobs=1)
        likely, unlikely = (sum(choice.logprobs.token_logprobs[1:]) for choice in answer.choices)
        assert [choice.text for choice in answer.choices] == ["abc", "abx"] and likely > unlikely, answer

    def tool_messages():
        call = {"id": "c", "type": "function", "function": {"name": "sum", "arguments": "{}"}}
        answer = client.chat.completions.create(
            model="letters",
            messages=[
                {"role": "user", "content": "1?"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "2"},
            ],
            tools=[{"type": "function", "function": {"name": "sum", "parameters": {}}}],
            tool_choice="none",
            max_tokens=2,
        )
        assert answer.choices[0].message.role == "assistant"

    def completion_ends():
        answer = client.completions.create(model="letters", prompt="x", max_tokens=20, temperature=0)
        assert answer.choices[0].text == "yz" and answer.choices[0].finish_reason == "stop", answer

    def sampling_is_seeded():
        texts = [
            client.completions.create(model="letters", prompt="a", max_tokens=12, temperature=2, seed=seed).choices[0].text
            for seed in (1, 1, 2)
        ]
        assert texts[0] == texts[1] != texts[2], texts

    def streaming():
        stream = client.completions.create(
            model="letters", prompt="abc", max_tokens=5, temperature=0, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "defgh"
        assert chunks[-1].usage.completion_tokens == 5

    def chat():
        answer = client.chat.completions.create(
            model="letters",
            messages=[{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "abc"}]}],
            max_completion_tokens=3,
            temperature=0,
            logprobs=True,
            top_logprobs=1,
        )
        assert answer.choices[0].message.role == "assistant"
        assert len(answer.choices[0].logprobs.content) == answer.usage.completion_tokens

    def chat_streaming():
        asked = dict(model="letters", messages=[{"role": "user", "content": "abc"}], max_tokens=6, temperature=0, n=2)
        whole = client.chat.completions.create(**asked).choices[1].message.content
        pieces, ends = "", 0
        for chunk in client.chat.completions.create(stream=True, **asked):
            for choice in chunk.choices:
                if choice.index == 1:
                    pieces += choice.delta.content or ""
                ends += choice.finish_reason is not None
        assert pieces == whole and ends == 2, (pieces, whole, ends)

    def embeddings():
        # The package asks for base64 by itself.
        both = client.embeddings.create(model="vectors", input=["ab", "b"]).data
        alone = client.embeddings.create(model="vectors", input="b", encoding_format="float").data[0].embedding
        assert all(abs(a - b) < 1e-6 for a, b in zip(both[1].embedding, alone)) and len(alone) == 4

    def errors():
        for call, kind in (
            (lambda: client.completions.create(model="none", prompt="a"), openai.NotFoundError),
            (lambda: client.completions.create(model="letters", prompt="a", temperature=9), openai.BadRequestError),
            (lambda: client.completions.create(model="letters", prompt="é"), openai.BadRequestError),
            (lambda: client.embeddings.create(model="letters", input="a"), openai.BadRequestError),
            (lambda: plain.chat.completions.create(model="letters", messages=[]), openai.BadRequestError),
        ):
            try:
                call()
            except kind as error:
                assert error.body["message"], error.body
            else:
                raise AssertionError(f"not refused with {kind}")

    async def asynchronous():
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1", api_key="none") as each:
            stream = await each.completions.create(model="letters", prompt="a", max_tokens=2, temperature=0, stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == "bc"

    return [
        models, completions, completion_options, completion_ends, sampling_is_seeded, streaming, chat, chat_streaming,
        embeddings, errors, asynchronous, scoring, tool_messages,
    ]
