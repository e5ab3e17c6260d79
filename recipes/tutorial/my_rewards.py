def exact(texts, columns, finishes):
    """1 where the text ends with the answer, and a little for stopping in time."""
    paid = []
    for text, answer, finish in zip(texts, columns["answer"], finishes, strict=True):
        paid.append(1.0 if text.strip().endswith(answer) else 0.1 if finish == "stop" else 0.0)
    return paid
