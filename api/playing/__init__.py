"""What `wangge demo` plays beside recorded messages: invented matters of every kind on every road, labelled so.

Knows no rule of the core: matters are opened and led through the same functions as the pages use, with the played time
as their argument. What is played is data: the YAML files of this folder.
"""
