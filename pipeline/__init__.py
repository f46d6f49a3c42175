"""Library behind the stages; importable without DVC, vLLM or a GPU.

In the order of the data: `datasets` and `prepare` -> `images`; `base_models` -> `clip`;
`descriptions` -> `filter` -> `embed`; `methods`, `attack`, `attention` -> `finetune`;
`attacks` -> `evaluate`; `statistics` -> `report`. `params`, `tables`, `atomic`, `registry` and
`errors` serve them all. Nothing here reads params.yaml at import.
"""
