"""Print which peers are installed."""

from peers import PEERS, lineup

for player in lineup("", ",".join(PEERS)):
    print(f"{player.name}: {player.version}")
