import { join } from "node:path";
import ts from "typescript";
import { root } from "./markdown.ts";

/** The project's compiler settings, over files that need not exist: `files` maps a path below the root to its text. */
export function programOf(files: ReadonlyMap<string, string>): ts.Program {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ["none.ts"] }, ts.sys, root);
  const texts = new Map([...files].map(([path, text]) => [join(root, path), text]));
  const host = ts.createCompilerHost(options, true);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.getSourceFile = (path, language, ...more) => {
    const text = texts.get(path);
    return text === undefined
      ? getSourceFile(path, language, ...more)
      : ts.createSourceFile(path, text, language, true);
  };
  return ts.createProgram([...texts.keys()], options, host);
}

/** What the compiler has against a file, a line each. */
export function complaintsAbout(program: ts.Program, path: string): string[] {
  const source = program.getSourceFile(join(root, path));
  if (!source) return [`${path} is not part of the program`];
  const diagnostics = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  return diagnostics.map(({ messageText, start = 0 }) => {
    const line = source.text.slice(0, start).split("\n").length;
    return `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

/** The public properties and methods of a type that a module exports, without those marked as internal. */
export function membersOf(program: ts.Program, path: string, name: string): string[] {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(join(root, path));
  const module = source && checker.getSymbolAtLocation(source);
  const exported = module && checker.getExportsOfModule(module).find((symbol) => symbol.name === name);
  if (!exported) throw new Error(`${path} exports no ${name}`);
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const isPublic = (member: ts.Symbol) =>
    !/^(__|#)/.test(member.name) && !member.getJsDocTags(checker).some((tag) => tag.name === "internal");
  return checker
    .getDeclaredTypeOfSymbol(symbol)
    .getProperties()
    .filter(isPublic)
    .map((member) => member.name);
}
