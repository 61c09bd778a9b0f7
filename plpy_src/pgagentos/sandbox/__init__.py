"""The sandbox for a model's own SQL: read-only, bounded, and only what positive lists name.

What a model writes is first taken apart and put together again from its tokens
(:mod:`.statement`), so
that the server sees nothing that was not understood here. The server's own parser then analyses it
with the rights of a powerless role, and the analysed tree is judged node by node (:mod:`.judge`).
What runs is that very tree, not the text.
"""
