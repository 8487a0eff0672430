"""Submissions: a folder with one stereo remix for each scene and listener, and a manifest.

```
<submission>/submission.json                  what made it, for which evaluation set, SHA-256 of every file
<submission>/<scene>_<listener>_remix.flac    stereo, 32 kHz, 16 bit
```
A submission may come from a stranger: sizes are bounded before anything is read, links are not followed, and each
file is read once, so that what was checked and hashed is what is scored. Those of the first challenge hold eight stems
for each song and listener (`stems`).
"""
