// What `npm i layerdiffuse` brings, as the lock file and the packages here have it: this package's files unpacked, and
// every package that it depends on.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export interface InstallSize {
  packages: number;
  megabytes: number;
}

interface LockedPackage {
  dev?: boolean;
  optional?: boolean;
  peer?: boolean;
  devOptional?: boolean;
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

export function measureInstall(): InstallSize {
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, LockedPackage> };
  const dependencies = Object.entries(lock.packages)
    .filter(([path, { dev, optional, peer, devOptional }]) => path && !dev && !optional && !peer && !devOptional)
    .map(([path]) => path);
  const packing = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { encoding: "utf8" });
  const [own] = JSON.parse(packing) as [{ unpackedSize: number }];
  const bytes = own.unpackedSize + dependencies.reduce((sum, path) => sum + bytesIn(path), 0);
  return { packages: dependencies.length + 1, megabytes: bytes / 1e6 };
}
