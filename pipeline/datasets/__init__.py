"""Image sources, one file each; the file name is what params.yaml calls `source`.

A source module has
    class Params(Section)                  its keys under `prepare.sets.<set>`, with `source`
    def open_source(params) -> ImageSource classes, items and a thread-safe decoder
and, where it is a published data set, FACTS (see `_catalogue`): what is known about it without
having it.
"""
