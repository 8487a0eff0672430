def test_x():
    import plugins, leaderboard, harness
    print(plugins, leaderboard)
    from plugins import passthrough
    from harness.plugins import Plugins
    print(Plugins().plugins)
